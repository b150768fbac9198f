//! A server with TLS, and an authority to sign its certificates. It checks nothing itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use db_core::{Error, Query};
use db_pool::{Roots, Target, Tls, TlsMode};
use db_testkit::TestServer;
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::sleep;
use tokio_postgres::Config;

use crate::support::{client, own_server};

/// The password of every role that has one.
pub(super) const PASSWORD: &str = "hunter2";

/// Who may come how. `app` may come either way.
const RULES: &str = "\
hostssl   all tls_only         all scram-sha-256
host      all tls_only         all reject
hostnossl all plain_only       all scram-sha-256
host      all plain_only       all reject
hostssl   all by_certificate   all cert
hostssl   all with_certificate all scram-sha-256 clientcert=verify-full
hostssl   all trusted          all trust
host      all all              all scram-sha-256
local     all all              trust
";

const ROLES: [&str; 6] = ["app", "tls_only", "plain_only", "by_certificate", "with_certificate", "trusted"];

/// Signs certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

/// A certificate and its key, PEM.
pub(super) struct Signed {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        Self::with_key(name, KeyPair::generate().expect("a key"))
    }

    pub(super) fn with_key(name: &str, key: KeyPair) -> Self {
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for these names and addresses.
    pub(super) fn sign(&self, names: &[&str]) -> Signed {
        self.sign_as(&named("a server", names), &KeyPair::generate().expect("a key"))
    }

    pub(super) fn sign_as(&self, params: &CertificateParams, key: &KeyPair) -> Signed {
        Signed::new(&params.signed_by(key, &self.issuer).expect("a certificate"), key)
    }
}

impl Signed {
    pub(super) fn new(certificate: &Certificate, key: &KeyPair) -> Self {
        Self { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A subject, and the names beside it.
pub(super) fn named(subject: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, subject);
    params
}

/// A server whose certificate is signed by its authority.
pub(super) struct TlsServer {
    server: TestServer,
    pub(super) authority: Authority,
    folder: TempDir,
}

impl TlsServer {
    /// One for this test alone, which may change its certificate.
    pub(super) async fn start() -> Self {
        let server = own_server().await;
        let authority = Authority::new("the authority");
        let this = Self { server, authority, folder: tempfile::tempdir().expect("a folder") };
        let admin = client(this.server.url()).await;
        for role in ROLES {
            let sql = format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'");
            admin.batch_execute(&sql).await.expect(role);
        }
        this.put("pg_hba.conf", RULES).await;
        this.put("root.crt", &this.authority.pem).await;
        admin.batch_execute("ALTER SYSTEM SET ssl_ca_file = 'root.crt'").await.expect("ssl_ca_file");
        this.show(&this.authority.sign(&["localhost", "127.0.0.1"])).await;
        admin.batch_execute("ALTER SYSTEM SET ssl = on").await.expect("ssl");
        this.reload().await;
        // The server takes a moment. Not `eventually`, whose closure may not go to another thread.
        while client(this.server.url()).await.query_one("SHOW ssl", &[]).await.expect("ssl").get::<_, &str>(0)
            != "on"
        {
            sleep(Duration::from_millis(10)).await;
        }
        this.file("root.crt", &this.authority.pem);
        this
    }

    /// One for all tests that run at a time, with a certificate for `localhost` and 127.0.0.1. It ends with the last of them:
    /// what is static is never dropped, and a container would stay.
    pub(super) async fn shared() -> Arc<Self> {
        static RUNTIME: OnceCell<Runtime> = OnceCell::const_new();
        static SERVER: Mutex<Weak<TlsServer>> = Mutex::const_new(Weak::new());
        let runtime = RUNTIME.get_or_init(async || Runtime::new().expect("a runtime")).await;
        let mut server = SERVER.lock().await;
        if let Some(server) = server.upgrade() {
            return server;
        }
        let started = Arc::new(runtime.spawn(Self::start()).await.expect("no panic"));
        *server = Arc::downgrade(&started);
        started
    }

    pub(super) fn url(&self) -> &str {
        self.server.url()
    }

    /// The server's address for `role`, with nothing said of TLS.
    pub(super) fn config(&self, role: &str) -> Config {
        let mut config: Config = self.url().parse().expect("a URL");
        config.user(role).password(PASSWORD);
        config
    }

    /// The same under another name.
    pub(super) fn at(&self, name: &str, role: &str) -> Config {
        let given = self.config(role);
        let mut config = Config::new();
        config.host(name).port(given.get_ports()[0]).user(role).password(PASSWORD).dbname("postgres");
        config
    }

    /// `role` in this mode, with our authority for the root where one is needed.
    pub(super) fn target(&self, role: &str, mode: TlsMode) -> Target {
        Target::from(self.config(role)).with_tls(self.tls(mode))
    }

    pub(super) fn tls(&self, mode: TlsMode) -> Tls {
        Tls::new(mode).with_roots(Roots::File(self.path("root.crt")))
    }

    /// A file of ours.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// Gives the server another certificate. It takes a moment until it shows it.
    pub(super) async fn show(&self, signed: &Signed) {
        self.put("server.crt", &signed.certificate).await;
        self.put("server.key", &signed.key).await;
        self.reload().await;
    }

    pub(super) async fn set(&self, setting: &str) {
        let admin = client(self.url()).await;
        admin.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await.expect(setting);
        self.reload().await;
    }

    async fn reload(&self) {
        client(self.url()).await.batch_execute("SELECT pg_reload_conf()").await.expect("reload");
    }

    /// Writes a file in the server's folder, wherever that is.
    async fn put(&self, name: &str, text: &str) {
        let sql = format!(
            "COPY (SELECT unnest(string_to_array($file${}$file$, E'\\n'))) \
             TO PROGRAM 'umask 077; cat > {name}.new && mv {name}.new {name}'",
            text.trim_end()
        );
        client(self.url()).await.batch_execute(&sql).await.expect(name);
    }
}

/// Whether the session that `target` gets is encrypted, as the server sees it.
pub(super) async fn is_encrypted(target: &Target) -> Result<bool, Error> {
    let client = target.connect().await?;
    client.one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await
}

/// `encrypted`, `plain`, or the error without its first part, which says where.
pub(super) async fn outcome(target: &Target) -> String {
    match is_encrypted(target).await {
        Ok(true) => "encrypted".to_owned(),
        Ok(false) => "plain".to_owned(),
        Err(error) => {
            let text = error.to_string();
            let (place, what) = text.split_once(": ").expect("a place");
            assert!(place.starts_with("could not connect to "), "{text}");
            what.to_owned()
        }
    }
}

/// Replaces the path of a temporary file, which differs with every run.
pub(super) fn without_folder(text: &str, file: &Path) -> String {
    text.replace(&file.display().to_string(), "FILE")
}
