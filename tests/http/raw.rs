//! Bytes over TCP, for what no client sends.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::house::{House, soon};

/// A connection on which every byte is the test's own.
pub(super) struct Raw(TcpStream);

impl Raw {
    pub(super) async fn to(house: &House) -> Self {
        Self(soon(TcpStream::connect(house.address)).await.unwrap())
    }

    /// Sends bytes.
    pub(super) async fn say(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        soon(self.0.write_all(bytes.as_ref())).await.unwrap();
        self
    }

    /// Says that nothing more will be sent.
    pub(super) async fn hush(&mut self) -> &mut Self {
        soon(self.0.shutdown()).await.unwrap();
        self
    }

    /// Closes the connection so that the other side gets a reset.
    pub(super) fn reset(self) {
        self.0.set_zero_linger().unwrap();
    }

    /// Everything that comes until the other side closes.
    pub(super) async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        soon(self.0.read_to_end(&mut bytes)).await.unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What comes until `end` was seen.
    pub(super) async fn until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.contains(end) {
            let byte = soon(self.0.read_u8()).await.unwrap_or_else(|e| panic!("{e}: {text}"));
            text.push(char::from(byte));
        }
        text
    }
}

/// All that comes back for `bytes`, after which nothing more is sent.
pub(super) async fn exchange(house: &House, bytes: impl AsRef<[u8]>) -> String {
    let mut raw = Raw::to(house).await;
    raw.say(bytes).await;
    raw.rest().await
}

/// The status of an answer.
pub(super) fn status(answer: &str) -> u16 {
    let code = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    code.and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status in {answer:?}"))
}
