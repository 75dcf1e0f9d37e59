//! What Postrider does: the kinds of jobs, and the contract they keep with the engine.
//!
//! One file is one kind is one type. A job knows nothing of the engine: it gets a payload and a
//! [`contract::Context`], asks ports, and answers with an [`contract::Outcome`].

pub mod contract;

use contract::Catalogue;

/// The catalogue: every kind, in alphabetical order.
pub fn catalogue() -> Catalogue {
    Catalogue::empty()
}
