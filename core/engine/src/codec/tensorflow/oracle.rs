//! TensorFlow Serving's messages as prost reads and writes them: the dumb twins that the codec is held
//! against. Maps are lists of their entries, which look the same on the wire.

use bytes::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Int64Value {
    #[prost(int64, tag = "1")]
    pub value: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelSpec {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(oneof = "VersionChoice", tags = "2, 4")]
    pub version_choice: Option<VersionChoice>,
    #[prost(string, tag = "3")]
    pub signature_name: String,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum VersionChoice {
    #[prost(message, tag = "2")]
    Version(Int64Value),
    #[prost(string, tag = "4")]
    Label(String),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Dim {
    #[prost(int64, tag = "1")]
    pub size: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorShape {
    #[prost(message, repeated, tag = "2")]
    pub dim: Vec<Dim>,
    #[prost(bool, tag = "3")]
    pub unknown_rank: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorProto {
    #[prost(int32, tag = "1")]
    pub dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub tensor_shape: Option<TensorShape>,
    #[prost(bytes = "bytes", tag = "4")]
    pub tensor_content: Bytes,
    #[prost(float, repeated, tag = "5")]
    pub float_val: Vec<f32>,
    #[prost(double, repeated, tag = "6")]
    pub double_val: Vec<f64>,
    #[prost(int32, repeated, tag = "7")]
    pub int_val: Vec<i32>,
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub string_val: Vec<Bytes>,
    #[prost(int64, repeated, tag = "10")]
    pub int64_val: Vec<i64>,
    #[prost(bool, repeated, tag = "11")]
    pub bool_val: Vec<bool>,
    #[prost(int32, repeated, tag = "13")]
    pub half_val: Vec<i32>,
    #[prost(uint32, repeated, tag = "16")]
    pub uint32_val: Vec<u32>,
    #[prost(uint64, repeated, tag = "17")]
    pub uint64_val: Vec<u64>,
}

/// The same fields, written one element at a time.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UnpackedValues {
    #[prost(float, repeated, packed = "false", tag = "5")]
    pub float_val: Vec<f32>,
    #[prost(int32, repeated, packed = "false", tag = "7")]
    pub int_val: Vec<i32>,
    #[prost(int64, repeated, packed = "false", tag = "10")]
    pub int64_val: Vec<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<TensorProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PredictRequest {
    #[prost(message, optional, tag = "1")]
    pub model_spec: Option<ModelSpec>,
    #[prost(message, repeated, tag = "2")]
    pub inputs: Vec<Entry>,
    #[prost(string, repeated, tag = "3")]
    pub output_filter: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PredictResponse {
    #[prost(message, repeated, tag = "1")]
    pub outputs: Vec<Entry>,
    #[prost(message, optional, tag = "2")]
    pub model_spec: Option<ModelSpec>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BytesList {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub value: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct FloatList {
    #[prost(float, repeated, tag = "1")]
    pub value: Vec<f32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Int64List {
    #[prost(int64, repeated, tag = "1")]
    pub value: Vec<i64>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum FeatureKind {
    #[prost(message, tag = "1")]
    Bytes(BytesList),
    #[prost(message, tag = "2")]
    Float(FloatList),
    #[prost(message, tag = "3")]
    Int64(Int64List),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Feature {
    #[prost(oneof = "FeatureKind", tags = "1, 2, 3")]
    pub kind: Option<FeatureKind>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct FeatureEntry {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<Feature>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Features {
    #[prost(message, repeated, tag = "1")]
    pub feature: Vec<FeatureEntry>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Example {
    #[prost(message, optional, tag = "1")]
    pub features: Option<Features>,
}

/// Both forms of a list: only one of them has a context.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExampleList {
    #[prost(message, repeated, tag = "1")]
    pub examples: Vec<Example>,
    #[prost(message, optional, tag = "2")]
    pub context: Option<Example>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum InputKind {
    #[prost(message, tag = "1")]
    List(ExampleList),
    #[prost(message, tag = "2")]
    WithContext(ExampleList),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Input {
    #[prost(oneof = "InputKind", tags = "1, 2")]
    pub kind: Option<InputKind>,
}

/// Of `Classify` and of `Regress`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExamplesRequest {
    #[prost(message, optional, tag = "1")]
    pub model_spec: Option<ModelSpec>,
    #[prost(message, optional, tag = "2")]
    pub input: Option<Input>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct InferenceTask {
    #[prost(message, optional, tag = "1")]
    pub model_spec: Option<ModelSpec>,
    #[prost(string, tag = "2")]
    pub method_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct MultiInferenceRequest {
    #[prost(message, repeated, tag = "1")]
    pub tasks: Vec<InferenceTask>,
    #[prost(message, optional, tag = "2")]
    pub input: Option<Input>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Class {
    #[prost(string, tag = "1")]
    pub label: String,
    #[prost(float, tag = "2")]
    pub score: f32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Classifications {
    #[prost(message, repeated, tag = "1")]
    pub classes: Vec<Class>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ClassificationResult {
    #[prost(message, repeated, tag = "1")]
    pub classifications: Vec<Classifications>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ClassificationResponse {
    #[prost(message, optional, tag = "1")]
    pub result: Option<ClassificationResult>,
    #[prost(message, optional, tag = "2")]
    pub model_spec: Option<ModelSpec>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Regression {
    #[prost(float, tag = "1")]
    pub value: f32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RegressionResult {
    #[prost(message, repeated, tag = "1")]
    pub regressions: Vec<Regression>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RegressionResponse {
    #[prost(message, optional, tag = "1")]
    pub result: Option<RegressionResult>,
    #[prost(message, optional, tag = "2")]
    pub model_spec: Option<ModelSpec>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ResultKind {
    #[prost(message, tag = "2")]
    Classification(ClassificationResult),
    #[prost(message, tag = "3")]
    Regression(RegressionResult),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct InferenceResult {
    #[prost(message, optional, tag = "1")]
    pub model_spec: Option<ModelSpec>,
    #[prost(oneof = "ResultKind", tags = "2, 3")]
    pub result: Option<ResultKind>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct MultiInferenceResponse {
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<InferenceResult>,
}
