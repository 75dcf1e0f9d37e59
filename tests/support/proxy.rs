//! A line between clients and a private Redis that does to their traffic what networks do.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinSet,
};

use super::redis::Private;

/// What is wrong with the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Connections are closed, new ones at once.
    Gone,
    /// Nothing comes through, and nobody is told.
    Silent,
    /// Everything comes so much later.
    Slow(Duration),
    /// Everything comes byte by byte.
    Sliced,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    fault: Fault,
    /// Connections older than this are reset amid their next answer.
    age: usize,
}

/// A running proxy on loopback; it stops when this is dropped.
pub(crate) struct Proxy {
    addr: SocketAddr,
    line: watch::Sender<Line>,
    resets: Arc<AtomicUsize>,
    _running: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn before(server: &Private) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port can be had");
        let addr = listener.local_addr().expect("it is bound");
        let line = watch::Sender::new(Line { fault: Fault::None, age: 0 });
        let resets = Arc::default();
        let mut running = JoinSet::new();
        let (seen, socket, counted) = (line.subscribe(), server.socket(), Arc::clone(&resets));
        running.spawn(serve(listener, socket, seen, counted));
        Self { addr, line, resets, _running: running }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.line.send_modify(|line| line.fault = fault);
    }

    /// Resets each connection that is open now in the middle of its next answer.
    pub(crate) fn reset_amid_answers(&self) {
        self.line.send_modify(|line| line.age += 1);
    }

    /// How many connections were reset so.
    pub(crate) fn resets(&self) -> usize {
        self.resets.load(SeqCst)
    }
}

async fn serve(
    listener: TcpListener,
    socket: PathBuf,
    line: watch::Receiver<Line>,
    resets: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (line, socket, resets) = (line.clone(), socket.clone(), Arc::clone(&resets));
        // However a connection ends, its two sides are closed with it.
        connections.spawn(async move { drop(carry(client, &socket, line, &resets).await) });
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(
    mut client: TcpStream,
    socket: &Path,
    line: watch::Receiver<Line>,
    resets: &AtomicUsize,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    if line.borrow().fault == Fault::Gone {
        return client.set_zero_linger();
    }
    let born = line.borrow().age;
    let mut gone = line.clone();
    let mut server = UnixStream::connect(socket).await?;
    let (mut answers, mut orders) = server.split();
    let (mut asks, mut hears) = client.split();
    let ended = {
        let there = pass(&mut asks, &mut orders, line.clone(), None);
        let back = pass(&mut answers, &mut hears, line, Some((born, resets)));
        tokio::select! {
            ended = there => ended,
            ended = back => ended,
            _ = gone.wait_for(|line| line.fault == Fault::Gone) => Ok(End::Reset),
        }
    };
    if matches!(ended, Ok(End::Reset)) {
        client.set_zero_linger()?;
    }
    Ok(())
}

/// How one direction of a connection ended.
enum End {
    Closed,
    Reset,
}

/// Passes bytes on, with what is wrong with the line. Answers may be reset in their middle.
async fn pass(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut line: watch::Receiver<Line>,
    answers: Option<(usize, &AtomicUsize)>,
) -> io::Result<End> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut bytes).await?;
        if count == 0 {
            return Ok(End::Closed);
        }
        let now = *line.wait_for(|line| line.fault != Fault::Silent).await.expect("it is held");
        if let Some((_, resets)) = answers.filter(|(born, _)| *born < now.age) {
            to.write_all(&bytes[..count / 2]).await?;
            resets.fetch_add(1, SeqCst);
            return Ok(End::Reset);
        }
        match now.fault {
            Fault::Sliced => {
                for byte in &bytes[..count] {
                    to.write_all(std::slice::from_ref(byte)).await?;
                }
            }
            Fault::Slow(by) => {
                tokio::time::sleep(by).await;
                to.write_all(&bytes[..count]).await?;
            }
            _ => to.write_all(&bytes[..count]).await?,
        }
    }
}
