#!/usr/bin/env python3
from speech import Config, Learner
from speech.data import utterances


def main() -> None:
    config = Config(features=5, hidden=10, classes=4, rate=0.02)
    learner = Learner(config)
    for number, utterance in enumerate(utterances(config, count=12), start=1):
        loss = learner.learn(utterance)
        if number % 3 == 0:
            print(f"{number:3d} {loss:.9f}")
    print("last", loss)
    print("weights", learner.checksum())


if __name__ == "__main__":
    main()
