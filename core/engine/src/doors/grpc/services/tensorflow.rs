//! TensorFlow Serving's services.

use super::{Kind, Messages, Method, Service, methods};
use crate::codec::tensorflow::{
    ClassificationResponse, MultiInferenceResponse, PredictResponse, RegressionResponse, decode_classify,
    decode_multi_inference, decode_predict, decode_regress,
};

pub static PREDICTION: Service = Service {
    name: "tensorflow.serving.PredictionService",
    methods: methods! { "tensorflow.serving.PredictionService", usize::MAX;
        "Predict" => Kind::Infer(&Messages { decode: decode_predict, form: &PredictResponse }),
        "Classify" => Kind::Infer(&Messages { decode: decode_classify, form: &ClassificationResponse }),
        "Regress" => Kind::Infer(&Messages { decode: decode_regress, form: &RegressionResponse }),
        "MultiInference" => {
            Kind::Infer(&Messages { decode: decode_multi_inference, form: &MultiInferenceResponse })
        },
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
