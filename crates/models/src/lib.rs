//! Differentiable networks on candle (MLP, VGG, ResNet) with right gradients, forward mode, training and checkpoints.
