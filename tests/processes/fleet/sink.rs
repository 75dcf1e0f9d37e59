//! Where the fleet's mail ends: an SMTP server that counts, outside of the program under test, which
//! effect happened how often and when, and keeps nothing else.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use jobs::contract::{Moment, ports::Clock};
use postrider::clock::SystemClock;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// A running sink; it stops when this is dropped.
pub struct Sink {
    addr: SocketAddr,
    book: Arc<Book>,
    _running: JoinSet<()>,
}

/// What was done to the world: the moments of each effect, by its key (the recipient).
pub type Arrivals = HashMap<String, Vec<Moment>>;

struct Book {
    arrivals: Mutex<Arrivals>,
    count: watch::Sender<usize>,
    /// Recipients that begin with this wait at RCPT TO; none do when it is none.
    held: watch::Sender<Option<String>>,
    waiting: watch::Sender<usize>,
}

impl Sink {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let book = Arc::new(Book {
            arrivals: Mutex::default(),
            count: watch::Sender::new(0),
            held: watch::Sender::new(None),
            waiting: watch::Sender::new(0),
        });
        let mut running = JoinSet::new();
        running.spawn(serve(listener, Arc::clone(&book)));
        Self { addr, book, _running: running }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many effects there were.
    pub fn count(&self) -> usize {
        *self.book.count.borrow()
    }

    /// Waits until there were so many effects.
    pub async fn until(&self, count: usize) {
        let mut counts = self.book.count.subscribe();
        counts.wait_for(|now| *now >= count).await.expect("the book is open");
    }

    pub fn arrivals(&self) -> Arrivals {
        self.book.arrivals.lock().unwrap().clone()
    }

    /// From now on, mails to recipients that begin with `prefix` wait before their point of no return.
    pub fn hold(&self, prefix: &str) {
        self.book.held.send_replace(Some(prefix.to_owned()));
    }

    pub fn release(&self) {
        self.book.held.send_replace(None);
    }

    /// Waits until so many mails are held.
    pub async fn until_held(&self, count: usize) {
        let mut waiting = self.book.waiting.subscribe();
        waiting.wait_for(|now| *now >= count).await.expect("the book is open");
    }
}

async fn serve(listener: TcpListener, book: Arc<Book>) {
    let mut guests = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        // A connection breaks when its worker is killed, which is what happens here.
        let book = Arc::clone(&book);
        guests.spawn(async move { drop(talk(stream, &book).await) });
        while guests.try_join_next().is_some() {}
    }
}

async fn talk(stream: TcpStream, book: &Book) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut to = String::new();
    stream.write_all(b"220 sink ESMTP\r\n").await?;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let answer: &[u8] = match verb.as_str() {
            "EHLO" => b"250 sink\r\n",
            "RCPT" => {
                to = recipient(&line);
                book.let_pass(&to).await;
                b"250 ok\r\n"
            }
            "DATA" => {
                stream.write_all(b"354 go ahead\r\n").await?;
                if !body(&mut stream).await? {
                    return Ok(());
                }
                book.note(&to);
                b"250 ok\r\n"
            }
            "QUIT" => return stream.write_all(b"221 bye\r\n").await,
            _ => b"250 ok\r\n",
        };
        stream.write_all(answer).await?;
    }
}

/// Reads a message to its end; `false` when it breaks off.
async fn body(stream: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(false);
        }
        if line == b".\r\n" {
            return Ok(true);
        }
    }
}

fn recipient(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.expect("RCPT TO has an address").0.to_owned()
}

impl Book {
    async fn let_pass(&self, to: &str) {
        let mut held = self.held.subscribe();
        let passes = |held: &Option<String>| !held.as_ref().is_some_and(|p| to.starts_with(p));
        if passes(&held.borrow()) {
            return;
        }
        self.waiting.send_modify(|waiting| *waiting += 1);
        held.wait_for(passes).await.expect("the book is open");
        self.waiting.send_modify(|waiting| *waiting -= 1);
    }

    fn note(&self, to: &str) {
        self.arrivals.lock().unwrap().entry(to.to_owned()).or_default().push(SystemClock.now());
        self.count.send_modify(|count| *count += 1);
    }
}
