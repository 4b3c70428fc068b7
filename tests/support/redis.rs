//! What a Redis target holds: a client that speaks just enough of the protocol.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A connection.
pub struct Session {
    stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Null,
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Answer>),
    Error(String),
}

impl Answer {
    pub fn list(self) -> Vec<Answer> {
        match self {
            Answer::List(list) => list,
            other => panic!("not a list: {other:?}"),
        }
    }

    pub fn bytes(self) -> Vec<u8> {
        match self {
            Answer::Bytes(bytes) => bytes,
            other => panic!("not bytes: {other:?}"),
        }
    }

    pub fn text(self) -> String {
        String::from_utf8(self.bytes()).expect("UTF-8")
    }

    /// Names and values that follow each other.
    pub fn pairs(self) -> BTreeMap<String, Vec<u8>> {
        let mut parts = self.list().into_iter();
        let mut pairs = BTreeMap::new();
        while let Some(name) = parts.next() {
            pairs.insert(name.text(), parts.next().expect("a value for each name").bytes());
        }
        pairs
    }
}

impl Session {
    /// Connects by a URL, `redis://127.0.0.1:PORT/0`.
    pub fn connect(url: &str) -> Self {
        let address = url.trim_start_matches("redis://").trim_end_matches("/0");
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("connect to {url}: {error}"));
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set a timeout");
        Self { stream: BufReader::new(stream) }
    }

    /// Runs one command. Panics when it is refused.
    pub fn run(&mut self, words: &[&str]) -> Answer {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.stream.get_mut().write_all(command.as_bytes()).expect("send a command");
        match self.answer() {
            Answer::Error(error) => panic!("{words:?}: {error}"),
            answer => answer,
        }
    }

    /// Every hash whose key begins with `prefix`.
    pub fn hashes(&mut self, prefix: &str) -> Vec<BTreeMap<String, Vec<u8>>> {
        let keys = self.run(&["KEYS", &format!("{prefix}*")]).list();
        keys.into_iter().map(|key| self.run(&["HGETALL", &key.text()]).pairs()).collect()
    }

    /// The entries of a stream.
    pub fn entries(&mut self, stream: &str) -> Vec<BTreeMap<String, Vec<u8>>> {
        let entries = self.run(&["XRANGE", stream, "-", "+"]).list();
        entries.into_iter().map(|entry| entry.list().swap_remove(1).pairs()).collect()
    }

    fn answer(&mut self) -> Answer {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("read an answer");
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).expect("an answer has a kind");
        let number = || rest.parse::<i64>().expect("a number");
        match kind {
            "+" => Answer::Bytes(rest.as_bytes().to_vec()),
            "-" => Answer::Error(rest.to_owned()),
            ":" => Answer::Int(number()),
            "$" | "*" if number() < 0 => Answer::Null,
            "$" => {
                let mut bytes = vec![0; number() as usize + 2];
                self.stream.read_exact(&mut bytes).expect("read an answer");
                bytes.truncate(bytes.len() - 2);
                Answer::Bytes(bytes)
            }
            "*" => Answer::List((0..number()).map(|_| self.answer()).collect()),
            _ => panic!("an answer that nobody knows: {line}"),
        }
    }
}
