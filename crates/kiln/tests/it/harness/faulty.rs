use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Registry;

/// A proxy before a registry, which fails on purpose as long as it is not healed.
pub struct FaultyProxy {
    port: u16,
    shared: Arc<Shared>,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Nothing,
    /// The connection ends at once.
    HangUp,
    /// It ends after so many bytes of what was sent along.
    CutRequest(usize),
    /// It ends after so many bytes of the answer.
    CutAnswer(usize),
    /// All is done, but the answer does not come.
    LoseAnswer,
    /// One bit of what is sent along, or of the answer, is another.
    SpoilRequest(usize),
    SpoilAnswer(usize),
    /// The registry gets it twice.
    Twice,
    /// A status, and what is said of when to come back.
    Refuse(u16, Option<&'static str>),
    /// A page for people.
    Page,
    /// The answer comes in so many parts, with a pause before each.
    Drip(usize),
}

/// One request that was answered.
#[derive(Debug, Clone)]
pub struct Passed {
    /// Method and path, as `GET /v2/`.
    pub line: String,
    pub fault: Fault,
    /// Bytes of the answer that were sent on, without its head.
    pub bytes: usize,
}

type Plan = dyn Fn(&str, usize) -> Fault + Send + Sync;

struct Shared {
    registry: String,
    plan: Box<Plan>,
    /// How often a token may be shown, where one is wanted.
    token_uses: Option<usize>,
    healed: AtomicBool,
    tokens: Mutex<Vec<usize>>,
    passed: Mutex<Vec<Passed>>,
    count: Mutex<usize>,
}

/// A request or an answer up to its body.
struct Head {
    first: String,
    fields: Vec<(String, String)>,
}

impl FaultyProxy {
    /// `plan` is given a request as `GET /v2/`, and how many came before it.
    pub fn start(registry: &Registry, plan: impl Fn(&str, usize) -> Fault + Send + Sync + 'static) -> Self {
        FaultyProxy::with_tokens(registry, None, plan)
    }

    /// The same, where each request has to show a token that it gives itself, and that soon is too old.
    pub fn with_tokens(
        registry: &Registry,
        token_uses: Option<usize>,
        plan: impl Fn(&str, usize) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            registry: registry.host(),
            plan: Box::new(plan),
            token_uses,
            healed: AtomicBool::new(false),
            tokens: Mutex::default(),
            passed: Mutex::default(),
            count: Mutex::default(),
        });
        let answers = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answers = answers.clone();
                // A side that has hung up is no fault of a test.
                std::thread::spawn(move || answers.answer(&stream).map(|()| stream.shutdown(Shutdown::Both)));
            }
        });
        FaultyProxy { port, shared }
    }

    /// From now on nothing fails.
    pub fn heal(&self) {
        self.shared.healed.store(true, Ordering::Relaxed);
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A name in the registry behind it.
    pub fn name(&self, repository: &str) -> String {
        format!("{}/{repository}", self.host())
    }

    /// What was asked so far.
    pub fn passed(&self) -> Vec<Passed> {
        self.shared.passed.lock().expect("not poisoned").clone()
    }

    /// The same, and forgets it.
    pub fn take_passed(&self) -> Vec<Passed> {
        std::mem::take(&mut *self.shared.passed.lock().expect("not poisoned"))
    }
}

impl Shared {
    fn answer(&self, mut client: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(client);
        let Some(head) = Head::read(&mut reader)? else { return Ok(()) };
        let line = head.line();
        if line.contains(" /token") {
            return client.write_all(self.token().as_bytes());
        }
        if !self.is_known(head.field("authorization")) {
            let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", head.field("host"));
            return refuse(client, 401, &format!("WWW-Authenticate: {realm},error=\"invalid_token\"\r\n"));
        }
        let fault = self.fault(&line);
        let bytes = self.pass(client, reader, &head, fault);
        let bytes = bytes.as_ref().map_or(0, |bytes| *bytes);
        self.passed.lock().expect("not poisoned").push(Passed { line, fault, bytes });
        Ok(())
    }

    fn fault(&self, line: &str) -> Fault {
        let mut count = self.count.lock().expect("not poisoned");
        *count += 1;
        if self.healed.load(Ordering::Relaxed) { Fault::Nothing } else { (self.plan)(line, *count - 1) }
    }

    /// A new token.
    fn token(&self) -> String {
        let mut tokens = self.tokens.lock().expect("not poisoned");
        tokens.push(self.token_uses.unwrap_or(usize::MAX));
        let body = format!(r#"{{"token":"t{}","expires_in":3600}}"#, tokens.len() - 1);
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// Whether a request may be answered. Its token is good for one less then.
    fn is_known(&self, shown: &str) -> bool {
        if self.token_uses.is_none() {
            return true;
        }
        let mut tokens = self.tokens.lock().expect("not poisoned");
        let number = shown.strip_prefix("Bearer t").and_then(|n| n.parse::<usize>().ok());
        let Some(left) = number.and_then(|n| tokens.get_mut(n)).filter(|left| **left > 0) else {
            return false;
        };
        *left -= usize::from(!self.healed.load(Ordering::Relaxed));
        true
    }

    /// Asks the registry; tells how many bytes the client was given.
    fn pass(
        &self,
        mut client: &TcpStream,
        mut reader: BufReader<&TcpStream>,
        head: &Head,
        fault: Fault,
    ) -> io::Result<usize> {
        match fault {
            Fault::HangUp => return Ok(0),
            Fault::Refuse(status, after) => {
                let after = after.map(|after| format!("Retry-After: {after}\r\n")).unwrap_or_default();
                return refuse(client, status, &after).map(|()| 0);
            }
            Fault::Page => {
                let page = "<html>Please log in</html>";
                let head = format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: {}",
                    page.len()
                );
                return client.write_all(format!("{head}\r\n\r\n{page}").as_bytes()).map(|()| 0);
            }
            _ => {}
        }
        let length: usize = head.field("content-length").parse().unwrap_or(0);
        let mut body = vec![0; if let Fault::CutRequest(at) = fault { at.min(length) } else { length }];
        reader.read_exact(&mut body)?;
        if let Fault::SpoilRequest(at) = fault
            && length > 0
        {
            body[at % length] ^= 4;
        }
        let mut answer = self.ask(head, &body)?;
        if fault == Fault::Twice {
            // What is said to the second does not arrive.
            io::copy(&mut self.ask(head, &body)?, &mut io::sink())?;
        }
        let Some(answer_head) = Head::read(&mut answer)? else { return Ok(0) };
        if matches!(fault, Fault::LoseAnswer | Fault::CutRequest(_)) {
            io::copy(&mut answer, &mut io::sink())?;
            return Ok(0);
        }
        client.write_all(answer_head.text().as_bytes())?;
        self.give(client, answer, fault)
    }

    fn ask(&self, head: &Head, body: &[u8]) -> io::Result<BufReader<TcpStream>> {
        let mut registry = TcpStream::connect(&self.registry)?;
        registry.write_all(head.text().as_bytes())?;
        registry.write_all(body)?;
        // The registry would take the end of all requests for one that is given up.
        if body.len() < head.field("content-length").parse().unwrap_or(0) {
            registry.shutdown(Shutdown::Write)?;
        }
        Ok(BufReader::new(registry))
    }

    fn give(&self, mut client: &TcpStream, mut answer: impl Read, fault: Fault) -> io::Result<usize> {
        let mut body = Vec::new();
        answer.read_to_end(&mut body)?;
        let mut parts = 1;
        match fault {
            Fault::SpoilAnswer(at) if !body.is_empty() => {
                let at = at % body.len();
                body[at] ^= 4;
            }
            Fault::CutAnswer(at) => body.truncate(at),
            Fault::Drip(count) => parts = count,
            _ => {}
        }
        for part in body.chunks(body.len().div_ceil(parts).max(1)) {
            if parts > 1 {
                std::thread::sleep(Duration::from_millis(30));
            }
            client.write_all(part)?;
        }
        Ok(body.len())
    }
}

fn refuse(mut client: &TcpStream, status: u16, fields: &str) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status} No\r\nConnection: close\r\nContent-Length: 0\r\n{fields}\r\n");
    client.write_all(head.as_bytes())?;
    // Who still sends would not see the answer.
    client.shutdown(Shutdown::Write)?;
    io::copy(&mut client, &mut io::sink()).map(drop)
}

impl Head {
    /// `None` where nothing came.
    fn read(reader: &mut impl io::BufRead) -> io::Result<Option<Head>> {
        let mut lines = reader.lines();
        let Some(first) = lines.next().transpose()? else { return Ok(None) };
        let mut fields = Vec::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else { break };
            fields.push((name.to_lowercase(), value.trim().to_owned()));
        }
        Ok(Some(Head { first, fields }))
    }

    fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    fn line(&self) -> String {
        let mut words = self.first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        format!("{method} {}", path.split('?').next().unwrap_or_default())
    }

    /// As it goes on: each connection is for one request, and the registry itself knows no logins.
    fn text(&self) -> String {
        let kept = self.fields.iter().filter(|(name, _)| name != "connection" && name != "authorization");
        let fields: String = kept.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{fields}connection: close\r\n\r\n", self.first)
    }
}
