//! Every way to reach a server: ACL users, TLS, Sentinels that change the master, a cluster, and none at all.

use std::fs;
use std::process::Command;

use super::server::{Server, free_port, until};
use super::*;

/// The store can be used: a study goes through it.
async fn is_usable(store: &RedisStore) {
    let uid = study(1);
    store.add_instances(add(&uid, vec![instance(&uid, 1, 1)])).await.unwrap();
    store.complete_studies(complete(&uid, None)).await.unwrap();
    store.plan_study(&uid, plan(&uid, 1, 0, &[XRAY], Priority::Routine)).await.unwrap();
    let lease = store.lease(wanted("w", &[XRAY], 60_000)).await.unwrap().unwrap();
    assert_eq!(store.complete_job(&lease.job.id, lease.token, outcome(1)).await, Ok(Done::Now));
}

fn cli(port: u16, words: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(words).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn a_user_with_no_more_rights_than_needed_is_enough() {
    let server = Server::start(&[]);
    // What README tells operators to give.
    let rules = "~{prelim}:* &{prelim}:wake +@read +@write +@scripting +@connection +@pubsub +info +time +ping";
    let rules: Vec<_> = rules.split(' ').collect();
    let words = [&["ACL", "SETUSER", "prelim", "on", ">secret"], rules.as_slice()].concat();
    assert_eq!(cli(server.port, &words), "OK");
    cli(server.port, &["ACL", "SETUSER", "default", "off"]);
    let mut options = options(&server.url(), "prelim");
    options.credentials.username = Some("prelim".into());
    options.credentials.password = Some("secret".into());
    let store = RedisStore::open(&options).await.unwrap();
    assert_eq!(store.report().appendfsync, None, "CONFIG is not among the rights");
    is_usable(&store).await;
    assert_eq!(store.reconcile().await, Ok(Reconciled::default()));

    options.credentials.password = Some("wrong".into());
    let error = RedisStore::open(&options).await.err().unwrap().to_string();
    assert!(error.contains("user name or password") && !error.contains("wrong"), "{error}");
}

#[tokio::test]
async fn tls_is_spoken_and_the_certificate_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let openssl = |words: &[&str]| {
        let output = Command::new("openssl").args(words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let ca = ["req", "-x509", "-subj", "/CN=Test CA", "-days", "2"];
    openssl(&[&ca[..], &curve, &["-keyout", &path("ca.key"), "-out", &path("ca.pem")]].concat());
    let request = ["req", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    openssl(&[&request[..], &curve, &["-keyout", &path("key.pem"), "-out", &path("req.pem")]].concat());
    let sign = ["x509", "-req", "-days", "2", "-copy_extensions", "copyall", "-CAcreateserial"];
    let with = ["-in", &path("req.pem"), "-CA", &path("ca.pem"), "-CAkey", &path("ca.key"), "-out", &path("cert.pem")];
    openssl(&[&sign[..], &with].concat());

    let tls_port = free_port();
    let (tls_text, cert, key, root) = (tls_port.to_string(), path("cert.pem"), path("key.pem"), path("ca.pem"));
    let _server = Server::start(&[
        "--tls-port",
        &tls_text,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &root,
    ]);
    let mut options = options(&format!("rediss://localhost:{tls_port}"), "tls");
    options.credentials.ca = Some(fs::read(&root).unwrap());
    options.credentials.client = Some((fs::read(&cert).unwrap(), fs::read(&key).unwrap()));
    is_usable(&RedisStore::open(&options).await.unwrap()).await;

    // A server whose certificate nobody vouches for, and one that is another's.
    options.credentials.ca = None;
    let error = RedisStore::open(&options).await.err().unwrap().to_string();
    assert!(error.contains("certificate"), "{error}");
    options.credentials.ca = Some(fs::read(&root).unwrap());
    options.address = Address::parse(&format!("rediss://127.0.0.1:{tls_port}")).unwrap();
    assert!(RedisStore::open(&options).await.is_err());
}

#[tokio::test]
async fn sentinels_lead_to_the_new_master_when_the_old_one_dies() {
    let mut first = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let second = Server::start(&["--replicaof", "127.0.0.1", &first.port.to_string()]);
    let files = tempfile::tempdir().unwrap();
    let sentinels: Vec<Server> = (0..3)
        .map(|n| {
            let file = files.path().join(format!("sentinel{n}.conf"));
            let port = free_port();
            let config = format!(
                "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds main 700\nsentinel failover-timeout main 4000\n",
                first.port
            );
            fs::write(&file, config).unwrap();
            Server::at("redis-sentinel", port, &[&file.display().to_string()])
        })
        .collect();
    let hosts: Vec<_> = sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
    // Sentinels find each other, and the replica, through the master.
    let knows = |sentinel: &Server| {
        let master = cli(sentinel.port, &["SENTINEL", "master", "main"]);
        let field = |name: &str| master.lines().skip_while(|line| *line != name).nth(1).unwrap_or("0").to_owned();
        (field("num-slaves"), field("num-other-sentinels")) == ("1".to_owned(), "2".to_owned())
    };
    until("all Sentinels know of all", || sentinels.iter().all(knows)).await;
    let options = options(&format!("redis+sentinel://{}/main", hosts.join(",")), "sentinel");
    let store = RedisStore::open(&options).await.unwrap();
    is_usable(&store).await;
    // What a master has not told its replicas dies with it: that is what WAITAOF and replicas' acknowledgements are for.
    until("all is replicated", || cli(second.port, &["DBSIZE"]) == cli(first.port, &["DBSIZE"])).await;
    // One that stood still for two seconds trusts no clock for half a minute, and helps nobody.
    let is_calm = |sentinel: &Server| cli(sentinel.port, &["INFO", "sentinel"]).contains("sentinel_tilt:0");
    until("no Sentinel is in TILT", || sentinels.iter().all(is_calm)).await;
    first.kill();
    // The store asks again until a Sentinel names the new master.
    let uid = study(2);
    assert!(store.add_instances(add(&uid, vec![instance(&uid, 1, 1)])).await.is_ok());
    assert!(store.study(&study(1)).await.unwrap().is_some(), "what was replicated is there");
    assert!(cli(second.port, &["ROLE"]).starts_with("master"));
}

#[tokio::test]
async fn a_cluster_keeps_all_keys_in_one_slot() {
    let servers: Vec<Server> = (0..3).map(|_| Server::start(&["--cluster-enabled", "yes"])).collect();
    let hosts: Vec<_> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]).args(&hosts).args(["--cluster-yes", "--cluster-replicas", "0"]);
    let created = create.output().unwrap();
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
    let is_ok = |server: &Server| cli(server.port, &["CLUSTER", "INFO"]).contains("cluster_state:ok");
    until("the cluster is whole", || servers.iter().all(is_ok)).await;
    let options = options(&format!("redis+cluster://{}", hosts.join(",")), "one-slot");
    let store = RedisStore::open(&options).await.unwrap();
    is_usable(&store).await;
    assert_eq!(store.reconcile().await, Ok(Reconciled::default()));
    let counts: Vec<_> = servers.iter().map(|server| cli(server.port, &["DBSIZE"])).collect();
    assert_eq!(counts.iter().filter(|count| *count != "0").count(), 1, "{counts:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_and_one_that_comes_back_is_found() {
    let mut server = Server::start(&[]);
    let options = options(&server.url(), "gone");
    let store = RedisStore::open(&options).await.unwrap();
    server.kill();
    // Asked while the server is away, answered when it is back.
    let uid = study(1);
    let asked = store.add_instances(add(&uid, vec![instance(&uid, 1, 1)]));
    let back = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.resume();
    };
    let (answer, ()) = tokio::join!(asked, back);
    assert!(answer.is_ok());
    server.kill();
    let error = RedisStore::open(&options).await.err().unwrap();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn settings_that_risk_something_are_told() {
    let server = Server::start(&["--appendfsync", "everysec", "--maxmemory-policy", "allkeys-lru"]);
    let store = RedisStore::open(&options(&server.url(), "risk")).await.unwrap();
    let report = store.report();
    assert_eq!((report.product.as_str(), report.version.0), ("Redis", 7));
    let risks: Vec<_> = report.risks().into_iter().map(|risk| risk.setting).collect();
    let synced = if report.version >= (7, 2) { None } else { Some("appendfsync everysec") };
    let want = ["maxmemory-policy allkeys-lru"].into_iter().chain(synced).chain(["maxmemory 0"]);
    assert_eq!(risks, want.collect::<Vec<_>>());
}
