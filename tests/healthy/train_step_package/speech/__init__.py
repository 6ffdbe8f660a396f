from .config import Config as Config
from .learning import Learner as Learner
