"""The experiment of the paper on one recording: which objects drive each neuron, what they resemble for it, where."""
