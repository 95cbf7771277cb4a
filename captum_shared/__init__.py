"""What do two images share, for this neuron?"""
