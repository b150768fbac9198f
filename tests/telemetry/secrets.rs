//! Nothing that leaves the layer holds a secret: a service is given many, everything goes wrong that can, and all that anybody could
//! read is searched. All secrets but one have the same word in them.

mod statements;

use std::fmt::Write;
use std::path::PathBuf;

use db_app::http::ENDPOINTS;
use nix::sys::signal::Signal;

use super::{Collector, fetch};
use crate::alerts::{Mood, Receiver};
use crate::local::program::{Place, Serving, text};
use crate::support::{client, eventually, own_server};

/// What no text may hold: the word, what is left of it in base64 wherever it stands, and what signs messages.
const SECRETS: [&str; 5] = ["hunter2", "aHVudGVyM", "h1bnRlcj", "odW50ZXIy", crate::alerts::SECRET];

const TOKEN: &str = "hunter2-http-token";

/// What was read, by where it is from.
#[derive(Default)]
struct Readings(Vec<(String, String)>);

impl Readings {
    fn add(&mut self, from: impl Into<String>, text: impl Into<String>) {
        self.0.push((from.into(), text.into()));
    }

    fn add_bytes(&mut self, from: &str, bodies: &[axum::body::Bytes]) {
        for body in bodies {
            self.add(from, String::from_utf8_lossy(body));
        }
    }

    /// Fails with the places of all secrets.
    fn assert_clean(&self) {
        let mut found = String::new();
        for (from, text) in &self.0 {
            for (number, line) in text.lines().enumerate() {
                if let Some(at) = SECRETS.iter().find_map(|secret| line.find(secret)) {
                    let begin = line.floor_char_boundary(at.saturating_sub(300));
                    let end = line.floor_char_boundary(at + 100);
                    writeln!(found, "{from}, line {}: {}", number + 1, &line[begin..end]).expect("a text");
                }
            }
        }
        assert!(found.is_empty(), "secrets are told:\n{found}");
    }
}

/// All that can be asked for, as a neighbour on the machine, a stranger, somebody with a wrong token and one with the right one.
async fn ask_everything(serving: &Serving, readings: &mut Readings) {
    let parts = ["app.js", "panels.js", "stream.js", "style.css", "nothing.js"];
    let mut paths: Vec<_> = ENDPOINTS.iter().map(|path| (*path).to_owned()).collect();
    paths.extend(parts.map(|part| format!("/dashboard/{part}")));
    paths.extend(["/api/live", "/nothing", "/health?token=hunter2"].map(str::to_owned));
    let away = "X-Forwarded-For: 192.0.2.1\r\n";
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    let callers = [
        "",
        away,
        &format!("{away}Authorization: Bearer hunter2-guess-guess\r\n"),
        &format!("{away}{right}"),
    ];
    for headers in callers {
        for path in &paths {
            let json = format!("{headers}Accept: application/json\r\n");
            let answer = fetch(serving.address, &format!("GET {path}"), &json, "").await;
            readings.add(format!("GET {path} as {headers:?}"), answer.head + &answer.body);
        }
    }
    // The stream as it is, which has no end.
    let answer = fetch(serving.address, "GET /api/live", &right, "").await;
    assert!(answer.body.contains("event: live"), "{answer:?}");
    readings.add("the stream", answer.body);
    let json = "Content-Type: application/json\r\n";
    for action in ["cancel", "rotate", "resume", "drain", "nothing"] {
        for headers in [json, &format!("{json}Authorization: Bearer hunter2\r\n"), &format!("{json}{right}")]
        {
            for body in [r#"{"pid":999999999}"#, r#"{"server":"elsewhere:1"}"#, "{"] {
                let line = format!("POST /api/admin/{action}");
                let answer = fetch(serving.address, &line, headers, body).await;
                readings.add(format!("{line} {body}"), answer.head + &answer.body);
            }
        }
    }
}

/// A role with a password that is known, on a server that asks for it.
async fn role(url: &str) -> String {
    let setup = "CREATE ROLE app SUPERUSER LOGIN PASSWORD 'hunter2-database'";
    client(url).await.batch_execute(setup).await.expect("a role");
    let port = url.parse::<tokio_postgres::Config>().expect("a URL").get_ports()[0];
    format!("postgres://app:hunter2-database@127.0.0.1:{port}/postgres")
}

/// C9, D10: a service with secrets of every kind, at its most talkative, through an outage and a receiver that is ill.
#[tokio::test]
async fn nothing_that_a_service_tells_holds_a_secret() {
    let mut server = own_server().await;
    let url = role(server.url()).await;
    let (collector, receiver) = (Collector::start().await, Receiver::start([500, 500].map(Mood::Says)).await);
    let webhook = format!("http://app:hunter2-hook@{}/hunter2-path?token=hunter2-query", receiver.address);
    // Nobody is there, now and later.
    let redis = "redis://app:hunter2-redis@127.0.0.1:1/0";
    let environment = [
        ("DATABASE_URL", &*url),
        ("DB_APPLICATION_NAME", "shop"),
        ("DB_HTTP_TOKEN", TOKEN),
        ("DB_ALERT_INTERVAL_MS", "50"),
        ("DB_ALERT_WEBHOOK_URL", &webhook),
        ("DB_ALERT_WEBHOOK_SECRET", crate::alerts::SECRET),
        ("DB_OTLP_ENDPOINT", &collector.url()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hunter2-header"),
        ("DB_REDIS_URL", redis),
        ("DB_REDIS_CRITICAL", "false"),
        ("DB_SLOW_QUERY_MS", "1"),
        ("DB_LOG", "trace"),
    ];
    let (place, mut readings) = (Place::new(), Readings::default());
    let log = place.path().join("log");
    let serving = place.serve_logged(&environment, &log).await;
    readings.add("its output", &*serving.printed);
    ask_everything(&serving, &mut readings).await;
    server.halt().await.expect("halted");
    eventually("an outage is told", async || receiver.notices().len() >= 2).await;
    ask_everything(&serving, &mut readings).await;
    server.resume().await.expect("there again");
    ask_everything(&serving, &mut readings).await;
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));

    let logged = std::fs::read_to_string(&log).expect("the log");
    assert!(logged.contains("TRACE") && logged.contains("sending again"), "it is talkative: {logged}");
    readings.add("the log", logged);
    assert!(
        !collector.bodies().is_empty(),
        "metrics came; spans of statements are looked at in `statements`"
    );
    readings.add_bytes("what the collector got", &collector.bodies());
    readings.add_bytes("what the webhook got", &receiver.bodies());
    readings.assert_clean();
}

/// A migration with a password in it that fails.
fn migrations(place: &Place) -> PathBuf {
    let folder = place.path().join("failing");
    std::fs::create_dir(&folder).expect("a folder");
    let sql =
        "CREATE ROLE other PASSWORD 'hunter2-in-a-migration';\nINSERT INTO nothing VALUES ('hunter2');\n";
    std::fs::write(folder.join("001_role.sql"), sql).expect("a file");
    folder
}

/// C9, D10: what other commands print and log, with a server that is well, one that refuses them, and settings that are wrong.
#[tokio::test]
async fn nothing_that_a_command_prints_holds_a_secret() {
    let server = own_server().await;
    let url = role(server.url()).await;
    let servers = [
        ("as it should be", url.clone()),
        ("a wrong password", url.replace("hunter2-database", "hunter2-wrong")),
        ("an unknown database", url.replace("/postgres", "/nothing")),
        ("an unknown role", url.replace("app:", "nobody:")),
        ("a closed port", "postgres://app:hunter2@127.0.0.1:1/postgres".to_owned()),
        ("no URL at all", "postgres://app:hunter2@127.0.0.1:port/postgres?hunter2".to_owned()),
    ];
    let (place, mut readings) = (Place::new(), Readings::default());
    let migrations = migrations(&place);
    let settings = [
        ("DB_HTTP_TOKEN", TOKEN),
        ("DB_ALERT_WEBHOOK_URL", "http://app:hunter2@127.0.0.1:1/hunter2"),
        ("DB_ALERT_WEBHOOK_SECRET", crate::alerts::SECRET),
        ("DB_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hunter2-header"),
        ("DB_REDIS_URL", "redis://app:hunter2@127.0.0.1:1/0"),
        ("DB_MIGRATIONS_DIR", migrations.to_str().expect("a path")),
        ("DB_LOG", "trace"),
    ];
    let mut run = |what: &str, arguments: &[&str], environment: &[(&str, &str)]| {
        let output = place.run(arguments, environment);
        readings.add(format!("db {} with {what}", arguments.join(" ")), text(&output));
        output.status.code()
    };
    let commands: [&[&str]; 10] = [
        &["config"],
        &["config", "--json"],
        &["doctor", "--json"],
        &["health"],
        &["health", "--json"],
        &["stats", "--json"],
        &["migrate", "status", "--json"],
        &["migrate", "up"],
        &["migrate", "up", "--json"],
        &["serve"],
    ];
    for (what, url) in &servers {
        let environment = [&settings[..], &[("DATABASE_URL", url)]].concat();
        let codes = commands.map(|arguments| run(what, arguments, &environment));
        let expect = match *what {
            // The Redis is away, and the migration fails.
            "as it should be" => [0, 0, 1, 1, 1, 0, 3, 1, 1, 1],
            "no URL at all" => [2; 10],
            _ => [0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
        };
        assert_eq!(codes, expect.map(Some), "{what}");
    }
    for (name, value) in [
        ("DB_HTTP_TOKEN", "hunter2"),
        ("DB_ALERT_WEBHOOK_SECRET", "hunter2"),
        ("DB_ALERT_WEBHOOK_URL", "hunter2"),
        ("DB_OTLP_ENDPOINT", "http://app:hunter2@127.0.0.1:1"),
        ("DB_REDIS_URL", "http://hunter2"),
    ] {
        let environment = [&settings[..], &[("DATABASE_URL", &*url), (name, value)]].concat();
        assert_eq!(run(name, &["config"], &environment), Some(2), "{name}");
        assert_eq!(run(name, &["serve"], &environment), Some(2), "{name}");
    }
    assert!(readings.0.iter().any(|(_, text)| text.contains("28P01")), "a wrong password is told as such");
    readings.assert_clean();
}
