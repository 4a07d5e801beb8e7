"""Constants that both framework packages share; each is passed explicitly, as the frameworks' defaults differ."""

NORM_EPSILON = 1e-5  # of batch and layer normalisation
BATCH_NORM_MOMENTUM = 0.1  # share of the new batch in the moving statistics, torch's notion; Keras' is 1 minus this
LEAKY_RELU_SLOPE = 0.01
PRELU_SLOPE = 0.25  # initial (He et al. 2015)

EPSILON = {"adam": 1e-8, "adamw": 1e-8, "rmsprop": 1e-7, "adagrad": 0.0, "adadelta": 1e-6}
DECAY = {"rmsprop": 0.9, "adadelta": 0.9}  # of the moving mean of squared gradients
ADAGRAD_INITIAL_SUM = 0.1  # large enough to need no epsilon, which Keras adds under the root and torch outside
LION_BETAS = (0.9, 0.99)
DECOUPLED_WEIGHT_DECAY = ("adamw", "lion")  # optimizers that decay the weights themselves

MIN_FOCAL_MISS = 1e-8  # lower bound of 1 - p in the focal loss: the power of 0 may have no gradient
LOSS_SCALE = 2.0**15  # initial, of float16; halved where gradients overflow
LOSS_SCALE_STEPS = 2000  # without an overflow, after which it is doubled
HISTOGRAM_BUCKETS = 30  # of equal width, in TensorBoard
