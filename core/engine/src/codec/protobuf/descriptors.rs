//! What is defined in a serialized `FileDescriptorSet`, for who asks by name.

use super::super::wire::{Malformed, Reader, Value};
use std::collections::{BTreeMap, HashMap};

/// Files as they were compiled (`FileDescriptorProto`), and what each defines.
#[derive(Debug, Default)]
pub struct Descriptors {
    files: BTreeMap<&'static str, &'static [u8]>,
    /// Whole names, to the file they are defined in.
    symbols: HashMap<String, Defined>,
    services: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Defined {
    file: &'static [u8],
    is_message: bool,
}

impl Descriptors {
    /// Empty where the set cannot be read.
    pub fn read(set: &'static [u8]) -> Descriptors {
        let mut found = Descriptors::default();
        match found.add_files(set) {
            Ok(()) => found,
            Err(Malformed(_)) => Descriptors::default(),
        }
    }

    pub fn file(&self, name: &str) -> Option<&'static [u8]> {
        self.files.get(name).copied()
    }

    /// The file that defines a message, field, enum, service or method.
    pub fn file_of(&self, symbol: &str) -> Option<&'static [u8]> {
        self.symbols.get(symbol).map(|defined| defined.file)
    }

    pub fn has_message(&self, name: &str) -> bool {
        self.symbols.get(name).is_some_and(|defined| defined.is_message)
    }

    pub fn services(&self) -> &[String] {
        &self.services
    }

    fn add_files(&mut self, set: &'static [u8]) -> Result<(), Malformed> {
        for file in parts(set, 1) {
            let file = file?;
            let mut scope = String::new();
            for package in texts(file, 2) {
                package?.clone_into(&mut scope);
            }
            self.files.insert(name_of(file)?, file);
            self.add_all(file, &scope, file, &FILE)?;
        }
        Ok(())
    }

    /// What one message of a descriptor defines in its fields.
    fn add_all(
        &mut self,
        file: &'static [u8],
        scope: &str,
        within: &'static [u8],
        kinds: &[(u32, Kind)],
    ) -> Result<(), Malformed> {
        for &(number, kind) in kinds {
            for part in parts(within, number) {
                self.add(file, scope, part?, kind)?;
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        file: &'static [u8],
        scope: &str,
        part: &'static [u8],
        kind: Kind,
    ) -> Result<(), Malformed> {
        let name = name_of(part)?;
        let name = if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") };
        match kind {
            Kind::Message => self.add_all(file, &name, part, &MESSAGE)?,
            // Its values stand beside it, as in C++.
            Kind::Enum => self.add_all(file, scope, part, &[(2, Kind::Leaf)])?,
            Kind::Service => {
                self.services.push(name.clone());
                self.add_all(file, &name, part, &[(2, Kind::Leaf)])?;
            }
            Kind::Leaf => {}
        }
        self.symbols.insert(name, Defined { file, is_message: matches!(kind, Kind::Message) });
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Message,
    Enum,
    Service,
    /// A field, a value, a method: what defines nothing more.
    Leaf,
}

/// Of `FileDescriptorProto` and `DescriptorProto` (google/protobuf/descriptor.proto): the fields
/// that define something.
const FILE: [(u32, Kind); 4] = [(4, Kind::Message), (5, Kind::Enum), (6, Kind::Service), (7, Kind::Leaf)];
const MESSAGE: [(u32, Kind); 5] =
    [(2, Kind::Leaf), (3, Kind::Message), (4, Kind::Enum), (6, Kind::Leaf), (8, Kind::Leaf)];

type Fields<T> = Result<T, Malformed>;

/// All values of a field that is a message.
fn parts(message: &'static [u8], wanted: u32) -> impl Iterator<Item = Fields<&'static [u8]>> {
    values(message, wanted).map(|value| value?.len())
}

fn texts(message: &'static [u8], wanted: u32) -> impl Iterator<Item = Fields<&'static str>> {
    values(message, wanted).map(|value| value?.text())
}

fn values(message: &'static [u8], wanted: u32) -> impl Iterator<Item = Fields<Value<'static>>> {
    let mut reader = Reader::new(message);
    std::iter::from_fn(move || {
        loop {
            match reader.field() {
                Ok(None) => return None,
                Ok(Some((number, value))) if number == wanted => return Some(Ok(value)),
                Ok(Some(_)) => {}
                Err(malformed) => {
                    reader = Reader::new(&[]);
                    return Some(Err(malformed));
                }
            }
        }
    })
}

/// In all of descriptor.proto's messages a name is the first field.
fn name_of(message: &'static [u8]) -> Result<&'static str, Malformed> {
    texts(message, 1).next().unwrap_or(Ok(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_served_is_found_by_its_name() {
        let own = Descriptors::read(crate::DESCRIPTORS);
        assert_eq!(
            own.services(),
            [
                "inference.GRPCInferenceService",
                "tensorflow.serving.PredictionService",
                "tensorflow.serving.ModelService",
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection",
            ]
        );
        let inference = own.file("inference.proto").unwrap();
        for symbol in [
            "inference.GRPCInferenceService",
            "inference.GRPCInferenceService.ModelInfer",
            "inference.ModelInferRequest",
            "inference.ModelInferRequest.id",
            "inference.ModelInferRequest.InferInputTensor",
            "inference.ModelInferRequest.InferInputTensor.name",
            "inference.InferParameter.parameter_choice",
        ] {
            assert_eq!(own.file_of(symbol), Some(inference), "{symbol}");
        }
        let config = own.file("model_config.proto").unwrap();
        for symbol in ["inference.DataType", "inference.TYPE_BF16", "inference.ModelInstanceGroup.KIND_CPU"] {
            assert_eq!(own.file_of(symbol), Some(config), "{symbol}");
        }
        assert!(own.has_message("inference.ModelConfig"));
        assert!(!own.has_message("inference.DataType") && !own.has_message("inference.Nothing"));
        assert_eq!((own.file("x.proto"), own.file_of("inference")), (None, None));
    }

    #[test]
    fn a_set_that_is_cut_defines_nothing() {
        let cut = &crate::DESCRIPTORS[..crate::DESCRIPTORS.len() / 2];
        assert!(Descriptors::read(cut).services().is_empty());
    }
}
