//! Tests: webhooks. A real receiver, real workers, real databases.

mod answers;
mod callbacks;
mod canaries;
mod delivering;
mod house;
mod inside;
mod operating;
