from dataclasses import dataclass

import torch


@dataclass
class Batch:
    """Atoms of all molecules one after another. `bonds` (2, pairs): both directions; `molecule`: whose atom it is."""

    element: torch.Tensor
    bonds: torch.Tensor
    molecule: torch.Tensor
    solubility: torch.Tensor
    count: int


class Molecules:
    """Chains of 4 to 9 atoms; element 0 is carbon."""

    def __init__(self, batches, size, seed):
        self.batches, self.size, self.seed = batches, size, seed

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.seed)
        for number in range(self.batches):
            elements, molecules, starts = [], [], []
            for molecule in range(self.size):
                atoms = int(torch.randint(4, 10, (), generator=generator))
                element = torch.randint(0, 5, (atoms,), generator=generator)
                element[0] = 1 + molecule % 4
                if (number, molecule) == (20, 13):
                    element[:] = 0  # a plain chain of carbon
                elements.append(element)
                molecules.append(torch.full((atoms,), molecule))
                starts.append(torch.arange(atoms - 1) + sum(map(len, elements[:-1])))
            first = torch.cat(starts)
            bonds = torch.stack([torch.cat([first, first + 1]), torch.cat([first + 1, first])])
            element, molecule = torch.cat(elements), torch.cat(molecules)
            polar = torch.zeros(self.size).index_add(0, molecule, (element > 0).float())
            yield Batch(element, bonds, molecule, 0.3 * polar - 1, self.size)


def segment_mean(values, owner, owners):
    """The mean of the rows of `values` (rows, width) that belong to each of `owners`."""
    total = torch.zeros(owners, values.shape[1]).index_add(0, owner, values)
    count = torch.zeros(owners).index_add(0, owner, torch.ones(len(owner)))
    return total / count[:, None].clamp(min=1)
