# -*- coding: latin-1 -*-
# Réseau de neurones, écrit sous Windows avec des tabulations
import hashlib
import torch

torch.manual_seed(91)
modèle = torch.nn.Linear(3, 1)
optimiseur = torch.optim.SGD(modèle.parameters(), lr=0.05)
nom = "été"

for époque in range(4):
	for lot in torch.randn(4, 5, 3):
		optimiseur.zero_grad()
		perte = (modèle(lot) - lot.sum(1, keepdim=True)).pow(2).mean()

		perte.backward()
		# on descend
		optimiseur.step()
		
	print("\xe9poque", époque, nom, \
		perte.item())

print(len(nom), ascii(nom))
print("weights", hashlib.sha256(modèle.weight.detach().numpy().tobytes() + modèle.bias.detach().numpy().tobytes()).hexdigest())
