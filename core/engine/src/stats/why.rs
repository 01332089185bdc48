//! Why a version answers a request.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It answers those that name none.
    Default,
    /// The request's draw fell to it.
    Weight,
    /// The request names it by another name.
    Alias,
    /// The request names it by number.
    Named,
    /// A tester's header names it.
    Forced,
    /// The version to which its draw fell has failed it.
    Fallback,
}

impl Why {
    /// The header, the key of metadata, and on a stream the parameter of an answer, that says it.
    pub const KEY: &str = "x-model-route";
    pub const ALL: [Why; 6] = [Why::Default, Why::Weight, Why::Alias, Why::Named, Why::Forced, Why::Fallback];

    /// As answers, logs and labels have it.
    pub const fn name(self) -> &'static str {
        match self {
            Why::Default => "default",
            Why::Weight => "weight",
            Why::Alias => "alias",
            Why::Named => "named",
            Why::Forced => "forced",
            Why::Fallback => "fallback",
        }
    }
}
