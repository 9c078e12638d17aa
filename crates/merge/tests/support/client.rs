//! A client that keeps column and row packets as the server sent them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use dbmesh_testkit::Server;
use dbmesh_wire::Capabilities;
use dbmesh_wire::codec::{HEADER_BYTES, Header, Reader, put_packet};
use dbmesh_wire::reply::{Eof, Err};
use dbmesh_wire::result_set::RowFormat;

/// A result set: payloads of column definitions and rows.
#[derive(Debug, Clone, Default)]
pub struct ResultSet {
    pub columns: Vec<Vec<u8>>,
    pub rows: Vec<Vec<u8>>,
}

pub struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
    at: usize,
}

impl Client {
    /// Logs in as root, with utf8mb4.
    pub fn connect(server: &Server) -> Self {
        let stream = UnixStream::connect(server.socket_path()).unwrap();
        let mut client = Self {
            stream,
            buffer: Vec::new(),
            at: 0,
        };
        client.packet();
        let caps = Capabilities::LONG_PASSWORD
            | Capabilities::PROTOCOL_41
            | Capabilities::TRANSACTIONS
            | Capabilities::SECURE_CONNECTION
            | Capabilities::MULTI_STATEMENTS
            | Capabilities::PLUGIN_AUTH;
        let mut response = (caps.0 as u32).to_le_bytes().to_vec();
        response.extend_from_slice(&(1_u32 << 24).to_le_bytes());
        response.push(45);
        response.extend_from_slice(&[0; 23]);
        response.extend_from_slice(b"root\0\0");
        response.extend_from_slice(b"mysql_native_password\0");
        client.send(1, &response);
        loop {
            let reply = client.packet();
            match reply.first() {
                Some(0) => break,
                Some(0xFE) => client.send(3, &[]),
                _ => panic!("login: {}", String::from_utf8_lossy(&reply)),
            }
        }
        client.query("SET NAMES utf8mb4, @@group_concat_max_len = 1024");
        client
    }

    pub fn query(&mut self, sql: &str) -> ResultSet {
        self.send(0, &[b"\x03", sql.as_bytes()].concat());
        self.result(sql)
    }

    /// The same by either protocol.
    pub fn run(&mut self, format: RowFormat, sql: &str) -> ResultSet {
        match format {
            RowFormat::Text => self.query(sql),
            RowFormat::Binary => self.execute(sql),
        }
    }

    fn execute(&mut self, sql: &str) -> ResultSet {
        self.send(0, &[b"\x16", sql.as_bytes()].concat());
        let reply = self.packet();
        assert_eq!(reply[0], 0, "{sql}: {}", String::from_utf8_lossy(&reply));
        let id: [u8; 4] = reply[1..5].try_into().unwrap();
        let columns = u16::from_le_bytes([reply[5], reply[6]]);
        if columns > 0 {
            for _ in 0..=columns {
                self.packet();
            }
        }
        self.send(0, &[&[0x17], &id[..], &[0, 1, 0, 0, 0]].concat());
        let result = self.result(sql);
        self.send(0, &[&[0x19], &id[..]].concat());
        result
    }

    fn result(&mut self, sql: &str) -> ResultSet {
        let first = self.packet();
        assert!(
            !Err::matches(&first),
            "{sql}: {}",
            String::from_utf8_lossy(&first)
        );
        let mut set = ResultSet::default();
        if first[0] == 0 {
            return set;
        }
        let count = Reader::new(&first).lenenc_int().unwrap();
        for _ in 0..count {
            set.columns.push(self.packet());
        }
        self.packet();
        loop {
            let row = self.packet();
            assert!(
                !Err::matches(&row),
                "{sql}: {}",
                String::from_utf8_lossy(&row)
            );
            if Eof::matches(&row) {
                return set;
            }
            set.rows.push(row);
        }
    }

    fn send(&mut self, mut seq: u8, payload: &[u8]) {
        let mut out = Vec::new();
        put_packet(&mut out, &mut seq, payload);
        self.stream.write_all(&out).unwrap();
    }

    fn packet(&mut self) -> Vec<u8> {
        loop {
            if let Some(header) = Header::first(&self.buffer[self.at..]) {
                let start = self.at + HEADER_BYTES;
                let end = start + header.len as usize;
                if let Some(payload) = self.buffer.get(start..end) {
                    self.at = end;
                    return payload.to_vec();
                }
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            let mut chunk = [0; 65_536];
            let n = self.stream.read(&mut chunk).unwrap();
            assert!(n > 0, "the server closed the connection");
            self.buffer.extend_from_slice(&chunk[..n]);
        }
    }
}
