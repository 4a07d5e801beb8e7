"""File names of the exported formats."""

ONNX, INT8 = "model.onnx", "model.int8.onnx"
EXPORTED_PROGRAM = "model.pt2"
KERAS, SAVED_MODEL, LITERT = "model.keras", "saved_model", "model.tflite"
