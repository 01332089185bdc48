//! TensorFlow Serving's services.

use super::{Kind, Messages, Method, Service, methods};
use crate::codec::tensorflow::{PredictResponse, decode_predict};

pub static PREDICTION: Service = Service {
    name: "tensorflow.serving.PredictionService",
    methods: methods! { "tensorflow.serving.PredictionService", usize::MAX;
        "Predict" => Kind::Infer(&Messages { decode: decode_predict, form: &PredictResponse }),
        "Classify" => Kind::Call,
        "Regress" => Kind::Call,
        "MultiInference" => Kind::Call,
        "GetModelMetadata" => Kind::Call,
    },
};

pub static MODEL: Service = Service {
    name: "tensorflow.serving.ModelService",
    methods: methods! { "tensorflow.serving.ModelService", usize::MAX;
        "GetModelStatus" => Kind::Call,
        "HandleReloadConfigRequest" => Kind::Call,
    },
};
