//! A broker that wants TLS, a client certificate, or a login: what each client is let in with, and what keeps it out.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kafka_io::topics::{Admin, AdminOptions};
use kafka_io::{
    Config, Mechanism, Metrics, Outgoing, Producer, ProducerOptions, Sasl, Tls, Token, TokenSource,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use testkit::Scratch;

use crate::cluster::Cluster;

const USER: &str = "alice";
const PASSWORD: &str = "s3cret with spaces";
const WITHIN: Duration = Duration::from_secs(10);

/// A certificate authority, and what it has signed, as PEM files.
struct Keys {
    folder: Scratch,
}

impl Keys {
    fn new() -> Self {
        let folder = Scratch::new("kafka-keys");
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.distinguished_name.push(DnType::CommonName, "authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = authority.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(authority, key);
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("ca.pem", &certificate);
        for name in ["broker", "client"] {
            let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate().unwrap();
            let signed = params.signed_by(&key, &issuer).unwrap().pem();
            write(&format!("{name}.key"), &key.serialize_pem());
            write(&format!("{name}.crt"), &signed);
            // A broker's PEM key store holds both.
            write(&format!("{name}.pem"), &(key.serialize_pem() + &signed));
        }
        write("password", &format!("{PASSWORD}\n"));
        write("wrong", "guessed\n");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn tls(&self) -> Tls {
        Tls { enabled: true, ca_file: self.text("ca.pem"), ..Tls::default() }
    }

    fn login(&self, mechanism: Mechanism, password_file: &str) -> Sasl {
        Sasl { mechanism, username: USER.to_owned(), password_file: self.text(password_file) }
    }
}

/// The listeners that a production cluster has, beside the plain one by which the test prepares it.
async fn secure(cluster: &Cluster, keys: &Keys) -> (SocketAddr, SocketAddr) {
    let kafka = &cluster.kafka;
    let (tls, sasl) = (kafka.spare(0), kafka.spare(1));
    let (plain, controller) = (kafka.bootstrap(), controller(kafka.bootstrap()));
    let module = "org.apache.kafka.common.security";
    let properties = [
        format!("listeners=CLIENT://{plain},CONTROLLER://{controller},TLS://{tls},SASL://{sasl}"),
        format!("advertised.listeners=CLIENT://{plain},TLS://{tls},SASL://{sasl}"),
        "listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,SASL:SASL_SSL"
            .to_owned(),
        "ssl.keystore.type=PEM".to_owned(),
        format!("ssl.keystore.location={}", keys.text("broker.pem")),
        "ssl.truststore.type=PEM".to_owned(),
        format!("ssl.truststore.location={}", keys.text("ca.pem")),
        "listener.name.tls.ssl.client.auth=required".to_owned(),
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER".to_owned(),
        format!(
            "listener.name.sasl.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"
        ),
        format!(
            "listener.name.sasl.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;"
        ),
        format!(
            "listener.name.sasl.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;"
        ),
        // The broker's own validator of unsigned tokens: what is tried here is that ours is asked for and sent.
        format!(
            "listener.name.sasl.oauthbearer.sasl.jaas.config={module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";"
        ),
    ];
    kafka.restart_with(0, &properties).await;
    (tls, sasl)
}

fn controller(client: String) -> SocketAddr {
    let client: SocketAddr = client.parse().unwrap();
    SocketAddr::new(client.ip(), client.port() + 10)
}

fn config(at: SocketAddr, tls: Tls, sasl: Sasl) -> Config {
    Config { tls, sasl, ..Config::plain(at.to_string()) }
}

/// Writes one record; the answer says whether the broker let us in.
async fn write(config: &Config) -> Result<(), String> {
    config.check().map_err(|problems| problems.to_string())?;
    let options = ProducerOptions { ack_timeout: WITHIN, ..ProducerOptions::default() };
    let producer = Producer::open(config, options, &Metrics::default()).unwrap();
    let record = Outgoing {
        topic: "in".into(),
        partition: Some(0),
        key: None,
        value: Some("v".into()),
        headers: Vec::new(),
        timestamp_ms: None,
    };
    producer.send(record).await.map(drop).map_err(|why| why.to_string())
}

/// Asks for the topics, which says why where it may not.
async fn refusal(config: &Config) -> String {
    let admin = Admin::open(config, AdminOptions { timeout: Duration::from_secs(5), broker: None });
    let asked = admin.unwrap().describe(&["in"]).await;
    asked.expect_err("the broker lets nobody in like this").to_string()
}

fn token(expires_in: Duration) -> Token {
    let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (now, end) = (seconds(SystemTime::now()), seconds(SystemTime::now() + expires_in));
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let claims = format!(r#"{{"sub":"{USER}","iat":{now},"exp":{end}}}"#);
    let value = format!("{header}.{}.", URL_SAFE_NO_PAD.encode(claims));
    Token {
        value: value.into(),
        principal: USER.to_owned(),
        expires_ms: i64::try_from(end).unwrap() * 1000,
    }
}

async fn add_user(cluster: &Cluster, mechanism: &str) {
    let setting = format!("{mechanism}=[iterations=4096,password={PASSWORD}]");
    let arguments =
        ["--alter", "--entity-type", "users", "--entity-name", USER, "--add-config", &setting];
    cluster.kafka.tool("kafka.admin.ConfigCommand", &arguments).await;
}

fn missing_file(folder: &Path) -> String {
    folder.join("nobody.pem").to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_in_is_taken_and_each_mistake_is_named() {
    let (cluster, keys) = (Cluster::one().await, Keys::new());
    cluster.topic("in", 1).await;
    add_user(&cluster, "SCRAM-SHA-256").await;
    add_user(&cluster, "SCRAM-SHA-512").await;
    let (tls, sasl) = secure(&cluster, &keys).await;

    let certified =
        Tls { cert_file: keys.text("client.crt"), key_file: keys.text("client.key"), ..keys.tls() };
    write(&config(tls, certified.clone(), Sasl::default())).await.unwrap();
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512] {
        let right = config(sasl, keys.tls(), keys.login(mechanism, "password"));
        write(&right).await.unwrap_or_else(|why| panic!("{mechanism:?}: {why}"));
        let said = refusal(&config(sasl, keys.tls(), keys.login(mechanism, "wrong"))).await;
        assert!(said.to_lowercase().contains("authentication"), "{mechanism:?}: {said}");
        assert!(!said.contains("guessed"), "{said}");
    }
    let bearer = Sasl { mechanism: Mechanism::OAuthBearer, ..Sasl::default() };
    let mut with_token = config(sasl, keys.tls(), bearer.clone());
    with_token.tokens = Some(TokenSource::new(|| Ok(token(Duration::from_secs(600)))));
    write(&with_token).await.unwrap();

    // Without a source of tokens, with a certificate that is not there: told before anything is connected.
    let said = write(&config(sasl, keys.tls(), bearer)).await.unwrap_err();
    assert!(said.contains("sasl.mechanism") && said.contains("token source"), "{said}");
    let astray = Tls { ca_file: missing_file(keys.folder.path()), ..keys.tls() };
    let said = write(&config(tls, astray, Sasl::default())).await.unwrap_err();
    assert!(said.contains("tls.ca_file") && said.contains("nobody.pem"), "{said}");
    // An authority that the broker's certificate is not of.
    let stranger = Tls { ca_file: keys.text("client.crt"), ..certified };
    let said = refusal(&config(tls, stranger, Sasl::default())).await;
    assert!(said.to_lowercase().contains("ssl"), "{said}");
    // No certificate where the broker wants one.
    let said = refusal(&config(tls, keys.tls(), Sasl::default())).await;
    assert!(!said.is_empty(), "{said}");
}
