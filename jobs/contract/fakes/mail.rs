//! A mail system, in memory.

use std::{collections::VecDeque, sync::Mutex};

use async_trait::async_trait;

use super::lock;
use crate::contract::{
    Fault, TenantId,
    ports::{Composed, Letter, Mail, NotSent, Pauses, PointOfNoReturn, Receipt},
};

/// A mail system in memory: it answers as it is told, and accepts when it is told nothing.
#[derive(Default)]
pub struct FakeMail {
    answers: Mutex<VecDeque<Answer>>,
    sent: Mutex<Vec<Composed>>,
    letters: Mutex<Vec<Letter>>,
    pauses: Pauses,
}

type Hook = Box<dyn FnOnce() + Send>;

enum Answer {
    Before(NotSent),
    After(NotSent),
    Meanwhile(Hook),
}

impl FakeMail {
    /// The next mail ends so, before it reaches the point of no return.
    pub fn fail_before_gate(&self, how: NotSent) {
        lock(&self.answers).push_back(Answer::Before(how));
    }

    /// The next mail ends so, after it has passed the point of no return.
    pub fn fail_after_gate(&self, how: NotSent) {
        lock(&self.answers).push_back(Answer::After(how));
    }

    /// During the next mail, right before the point of no return, this happens.
    pub fn meanwhile(&self, happens: impl FnOnce() + Send + 'static) {
        lock(&self.answers).push_back(Answer::Meanwhile(Box::new(happens)));
    }

    /// The mails that were accepted.
    pub fn sent(&self) -> Vec<Composed> {
        lock(&self.sent).clone()
    }

    /// The letters that were composed.
    pub fn letters(&self) -> Vec<Letter> {
        lock(&self.letters).clone()
    }
}

#[async_trait]
impl Mail for FakeMail {
    fn pauses(&self) -> &Pauses {
        &self.pauses
    }

    fn compose(&self, letter: &Letter) -> Result<Composed, Fault> {
        lock(&self.letters).push(letter.clone());
        Ok(Composed {
            from: letter.from.email.clone(),
            to: letter.to.email.clone(),
            message_id: letter.message_id.clone(),
            bytes: format!("Subject: {}\r\n\r\n{:?}", letter.subject, letter.text).into_bytes(),
        })
    }

    async fn send(
        &self,
        _tenant: &TenantId,
        _account: &str,
        mail: &Composed,
        gate: &dyn PointOfNoReturn,
    ) -> Result<Receipt, NotSent> {
        let answer = lock(&self.answers).pop_front();
        let after = match answer {
            Some(Answer::Before(how)) => return Err(how),
            Some(Answer::Meanwhile(happens)) => {
                happens();
                None
            }
            Some(Answer::After(how)) => Some(how),
            None => None,
        };
        match gate.pass().await {
            Ok(true) => {}
            Ok(false) => return Err(NotSent::Stopped(None)),
            Err(fault) => return Err(NotSent::Stopped(Some(fault))),
        }
        if let Some(how) = after {
            return Err(how);
        }
        lock(&self.sent).push(mail.clone());
        Ok(Receipt { reply: None, provider_id: None, logged_in: true })
    }
}
