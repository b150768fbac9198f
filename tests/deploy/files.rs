//! The compose file, the collector's configuration and the Kubernetes example as files: that they fit together and open nothing
//! to the outside. Nothing is started here.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{list, path, string, text, yaml};

fn services(compose: &Value) -> impl Iterator<Item = (&String, &Value)> {
    compose["services"].as_object().expect("services").iter()
}

#[test]
fn the_compose_file_opens_ports_on_this_machine_only() {
    let compose = yaml("docker-compose.yml");
    let mut published = 0;
    for (name, service) in services(&compose) {
        assert!(service["network_mode"].is_null(), "{name} would open all of its ports");
        for port in list(&service["ports"]) {
            assert!(string(port).starts_with("127.0.0.1:${"), "{name} opens {port}");
            published += 1;
        }
    }
    assert!(published >= services(&compose).count(), "some have no port");
}

#[test]
fn without_the_profile_the_compose_file_starts_what_it_always_did() {
    let compose = yaml("docker-compose.yml");
    let (with, without): (Vec<_>, Vec<_>) =
        services(&compose).partition(|(_, service)| service["profiles"].is_array());
    let names = |services: Vec<(&String, &Value)>| {
        services.into_iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>()
    };
    assert!(with.iter().all(|(_, service)| service["profiles"][0] == "observability"));
    assert_eq!(names(without), ["postgres", "redis"].map(str::to_owned).into());
    assert_eq!(names(with), ["grafana", "otel-collector", "prometheus"].map(str::to_owned).into());
}

#[test]
fn images_have_a_variable_and_a_tag_and_folders_exist() {
    let compose = yaml("docker-compose.yml");
    for (name, service) in services(&compose) {
        let image = string(&service["image"]);
        let default = image.strip_prefix("${DB_").and_then(|rest| rest.split_once(":-")).map(|(_, tag)| tag);
        let tag =
            default.and_then(|default| default.trim_end_matches('}').rsplit_once(':')).map(|(_, tag)| tag);
        assert!(
            tag.is_some_and(|tag| tag.starts_with(|c: char| c.is_ascii_digit() || c == 'v')),
            "{name}: {image}"
        );
        for volume in list(&service["volumes"]).map(string) {
            let (source, _) = volume.rsplit_once(":/").expect("source:/target");
            let is_there = match source.strip_prefix("./") {
                Some(source) => path(source).exists(),
                None => compose["volumes"].get(source).is_some() || source.starts_with("${"),
            };
            assert!(is_there, "{name} mounts {source}");
        }
    }
}

/// A name that `db` does not know is a warning to everybody who has it in `.env`.
#[test]
fn variables_of_the_compose_file_are_known_to_the_layer() {
    let known = text("crates/db-app/src/config/variables.rs");
    for variable in text("docker-compose.yml").split("${").skip(1).filter(|rest| rest.starts_with("DB_")) {
        let name = variable.split([':', '}']).next().expect("a name");
        assert!(known.contains(&format!("\"{name}\"")), "{name}");
    }
}

#[test]
fn the_collector_limits_itself_and_is_scraped() {
    let config = yaml("deploy/otel-collector/config.yaml");
    for pipeline in ["metrics", "traces"] {
        let pipeline = &config["service"]["pipelines"][pipeline];
        assert_eq!(pipeline["receivers"][0], "otlp");
        assert_eq!(pipeline["processors"], serde_json::json!(["memory_limiter", "batch"]));
        for (kind, name) in ["receivers", "processors", "exporters"]
            .into_iter()
            .flat_map(|kind| list(&pipeline[kind]).map(move |name| (kind, string(name))))
            .filter(|(_, name)| !name.starts_with("${"))
        {
            assert!(config[kind][name].is_object(), "{kind}: {name} is not configured");
        }
    }
    let limit = config["processors"]["memory_limiter"]["limit_mib"].as_u64().expect("a limit");
    let compose = yaml("docker-compose.yml");
    let memory = string(&compose["services"]["otel-collector"]["mem_limit"]);
    let memory: u64 = memory.trim_end_matches('m').parse().expect("megabytes");
    assert!(limit < memory, "Docker would end it before it refuses data");

    let prometheus = text("deploy/prometheus/prometheus.yml");
    let metrics = string(&config["exporters"]["prometheus"]["endpoint"]);
    let own =
        config["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"]["port"]
            .as_u64()
            .expect("a port");
    for port in [metrics.trim_start_matches("0.0.0.0:").to_owned(), own.to_string()] {
        assert!(prometheus.contains(&format!("\"otel-collector:{port}\"")), "nobody scrapes port {port}");
    }
}

#[test]
fn kubernetes_asks_our_endpoints_and_lets_us_end() {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text("deploy/kubernetes/service.yaml")).expect("YAML");
    let kinds: Vec<_> = documents.iter().map(|document| string(&document["kind"])).collect();
    assert_eq!(kinds, ["Deployment", "Service", "PodDisruptionBudget"]);
    let spec = &documents[0]["spec"]["template"]["spec"];
    let container = &spec["containers"][0];
    for (probe, path) in [
        ("startupProbe", "/health/startup"),
        ("livenessProbe", "/health/live"),
        ("readinessProbe", "/health/ready"),
    ] {
        assert_eq!(
            container[probe]["httpGet"],
            serde_json::json!({ "path": path, "port": "http" }),
            "{probe}"
        );
    }
    let environment =
        |name: &str| list(&container["env"]).find(|variable| variable["name"] == name).expect(name);
    let stopping: u64 =
        string(&environment("DB_SHUTDOWN_TIMEOUT_MS")["value"]).parse().expect("milliseconds");
    let before = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().expect("seconds");
    let grace = spec["terminationGracePeriodSeconds"].as_u64().expect("seconds");
    assert!(before + stopping / 1000 < grace, "it is killed before it has ended");

    for secret in ["DATABASE_URL", "DB_HTTP_TOKEN"] {
        let variable = environment(secret);
        assert!(variable["value"].is_null() && variable["valueFrom"]["secretKeyRef"].is_object(), "{secret}");
    }
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);

    let labels = &documents[0]["spec"]["template"]["metadata"]["labels"];
    assert_eq!(documents[1]["spec"]["selector"], *labels);
    assert_eq!(documents[2]["spec"]["selector"]["matchLabels"], *labels);
    let known = text("crates/db-app/src/config/variables.rs");
    for variable in list(&container["env"]).map(|variable| string(&variable["name"])) {
        assert!(known.contains(&format!("\"{variable}\"")), "{variable}");
    }
}
