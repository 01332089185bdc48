//! How answers look on their wires: values that travel with the requests. A protocol adds a
//! [`Form`] of its own; whoever batches, queues or sends answers knows none of them.

use super::compression::Encoding;
use super::{AnswerHead, InferRequest, OutputTensor};
use crate::admission::Reservation;
use crate::error::{Error, Result};
use crate::stats::Why;
use crate::tensor::{Signature, TensorSpec};
use bytes::Bytes;
use std::fmt::Debug;

/// One answer, as it goes to the socket.
#[derive(Clone, Debug)]
pub struct Answer {
    pub body: Bytes,
    /// HTTP with binary tensors: length of the JSON part, before compression.
    pub json_len: Option<usize>,
    pub encoding: Encoding,
}

pub type Reply = std::result::Result<Answer, Error>;

/// What a protocol makes of a run's outputs.
pub trait Form: Debug + Sync {
    /// The whole answer, within the limit and the budget of `of`.
    ///
    /// # Errors
    /// `TooLarge`, `Full`, and `BadRequest` naming an output that has no place in it.
    fn encode(
        &self,
        encoding: Encoding,
        head: &AnswerHead<'_>,
        outputs: &[OutputTensor<'_>],
        of: &Reservation,
    ) -> Reply;

    /// Bytes of raw outputs beyond which no answer of `limit` bytes can hold them.
    fn most_raw(&self, limit: usize) -> usize {
        limit
    }

    /// To be asked before anything runs.
    ///
    /// # Errors
    /// `BadRequest` naming the output where none of its data has a place in an answer, or in the
    /// binary part of one.
    fn takes(&self, _output: &TensorSpec, _binary: bool) -> Result<()> {
        Ok(())
    }

    /// The same where an answer has a place of its own for why its version gives it; `None`: its call's head
    /// tells that.
    fn told(&self, _why: Why) -> Option<&'static dyn Form> {
        None
    }

    /// What a request that is not run is told, in the protocol's own words where it has some;
    /// `signature`: of the version that it is for, where there is one.
    fn refusal(&self, error: Error, _request: &InferRequest, _signature: Option<&Signature>) -> Error {
        error
    }
}

/// How the answer to one request looks.
#[derive(Clone, Copy, Debug)]
pub struct Encode {
    pub form: &'static dyn Form,
    pub encoding: Encoding,
}

impl Encode {
    /// As it looks where `why` is why its version gives it.
    pub fn told(self, why: Option<Why>) -> Encode {
        Encode { form: why.and_then(|why| self.form.told(why)).unwrap_or(self.form), ..self }
    }

    /// # Errors
    /// As [`Form::encode`].
    pub fn outputs(self, head: &AnswerHead<'_>, outputs: &[OutputTensor<'_>], of: &Reservation) -> Reply {
        self.form.encode(self.encoding, head, outputs, of)
    }
}

impl Answer {
    /// A body that is neither compressed nor has a binary part.
    pub fn plain(body: Bytes) -> Answer {
        Answer { body, json_len: None, encoding: Encoding::Identity }
    }
}
