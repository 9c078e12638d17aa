//! Every way in which files are really replaced, on a real file system.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use super::*;
use crate::test_folder::TestFolder;

/// Never looks by itself within a test: changes are seen through events alone.
const NEVER_MS: u64 = 3_600_000;
const PATIENCE: Duration = Duration::from_secs(20);

fn configuration(pool_size: u32, password_file: &str) -> String {
    format!(
        "\
apiVersion: core.database-mesh.io/v1alpha1
kind: VirtualDatabase
metadata: {{name: shop}}
spec:
  services:
  - name: main
    databaseMySQL:
      host: 127.0.0.1
      port: 3306
      user: app
      password: {{valueFrom: {{file: {password_file}}}}}
      poolSize: {pool_size}
    trafficStrategy: shop
---
apiVersion: core.database-mesh.io/v1alpha1
kind: TrafficStrategy
metadata: {{name: shop}}
spec:
  selector: {{matchLabels: {{app: shop}}}}
---
apiVersion: core.database-mesh.io/v1alpha1
kind: DatabaseEndpoint
metadata: {{name: db0, labels: {{app: shop}}}}
spec:
  database:
    MySQL: {{host: 127.0.0.1, port: 3310, user: mesh}}
"
    )
}

fn with_pool(size: u32) -> String {
    configuration(size, "password")
}

/// A folder with `mesh.yaml` of pool size 1 and the password that it names.
fn folder() -> TestFolder {
    let folder = TestFolder::new();
    folder.write("password", "first");
    folder.write("mesh.yaml", &with_pool(1));
    folder
}

fn pool_size(topology: &Topology) -> u32 {
    topology.services[0].pool.size
}

fn password(topology: &Topology) -> String {
    match &topology.services[0].users[0].credential {
        dbmesh_model::topology::Credential::Plain(secret) => secret.expose().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[track_caller]
fn wait_for_pool(source: &Source, size: u32) {
    let topologies = source.watch();
    wait_until(&format!("a pool of {size}"), || {
        pool_size(&topologies.borrow()) == size
    });
}

#[test]
fn a_file_written_in_place_or_replaced_by_rename_is_read_again() {
    let folder = folder();
    let path = folder.path().join("mesh.yaml");
    let (source, first) = Source::open_looking(&path, NEVER_MS).unwrap();
    assert_eq!(pool_size(&first), 1);
    assert_eq!(source.status().revision, first.revision);

    fs::write(&path, with_pool(2)).unwrap();
    wait_for_pool(&source, 2);
    // A file written in place is empty for a moment, and may be read then.
    let empty = source.status().reloads_failed;

    for size in [3, 4] {
        let new = folder.write(".mesh.yaml.swp", &with_pool(size));
        fs::rename(new, &path).unwrap();
        wait_for_pool(&source, size);
    }
    let status = source.status();
    assert_ne!(status.revision, first.revision);
    assert!(
        status.reloads_ok >= 3 && empty <= 1 && status.reloads_failed == empty,
        "{status:?}"
    );
}

/// The layout that a kubelet makes, and its way to replace it: a new folder, then one rename.
#[test]
fn a_config_map_swap_is_read_again() {
    let folder = TestFolder::new();
    let generation = |name: &str, size: u32, secret: &str| {
        let data = folder.path().join(name);
        fs::create_dir(&data).unwrap();
        fs::write(data.join("mesh.yaml"), with_pool(size)).unwrap();
        fs::write(data.join("password"), secret).unwrap();
        symlink(name, folder.path().join("..data_tmp")).unwrap();
        fs::rename(
            folder.path().join("..data_tmp"),
            folder.path().join("..data"),
        )
        .unwrap();
    };
    generation("..1", 1, "first");
    for file in ["mesh.yaml", "password"] {
        symlink(format!("..data/{file}"), folder.path().join(file)).unwrap();
    }
    // By file, and by folder, whose generations must not count as resources of it.
    let mut last = 1;
    for path in [folder.path().join("mesh.yaml"), folder.path().to_owned()] {
        let (source, _) = Source::open_looking(&path, NEVER_MS).unwrap();
        for _ in 0..2 {
            let next = last + 1;
            generation(&format!("..{next}"), next, &format!("secret {next}"));
            fs::remove_dir_all(folder.path().join(format!("..{last}"))).unwrap();
            wait_for_pool(&source, next);
            assert_eq!(password(&source.watch().borrow()), format!("secret {next}"));
            last = next;
        }
    }
}

#[test]
fn a_bad_edit_keeps_the_last_good_topology_and_says_why() {
    let folder = folder();
    let path = folder.path().join("mesh.yaml");
    let (source, first) = Source::open_looking(&path, NEVER_MS).unwrap();
    let topologies = source.watch();

    fs::write(&path, with_pool(2).replace("poolSize", "poolSise")).unwrap();
    wait_until("a refusal", || source.status().reloads_failed > 0);
    let status = source.status();
    let defects = status.last_error.clone().unwrap();
    let defect = defects
        .iter()
        .find(|defect| defect.path.contains("poolSise"))
        .unwrap();
    assert_eq!((defect.line, &defect.file), (12, &path));
    assert!(Arc::ptr_eq(&first, &topologies.borrow()));
    assert_eq!(status.revision, first.revision);
    let json = status.json();
    assert_eq!(json["lastError"][0]["line"], 12);
    assert_eq!(json["revision"], format!("{:016x}", first.revision));

    let failed = status.reloads_failed;
    source.reload();
    wait_until("another refusal", || {
        source.status().reloads_failed > failed
    });

    fs::write(&path, with_pool(3)).unwrap();
    wait_for_pool(&source, 3);
    assert_eq!(source.status().last_error, None);
}

#[test]
fn equal_content_is_not_published_and_reading_does_not_wake_itself() {
    let folder = folder();
    let path = folder.path().join("mesh.yaml");
    let (source, first) = Source::open_looking(&path, NEVER_MS).unwrap();
    let topologies = source.watch();

    source.reload();
    wait_until("a reload", || source.status().reloads_ok == 1);
    fs::write(&path, format!("# A comment.\n{}", with_pool(1))).unwrap();
    wait_until("a reload", || source.status().reloads_ok >= 2);
    // Whatever the last write still causes has come after this; a loop would go on.
    std::thread::sleep(Duration::from_millis(800));
    let settled = source.status();
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(source.status(), settled);
    assert!(!topologies.has_changed().unwrap());
    assert!(Arc::ptr_eq(&first, &topologies.borrow()));
    assert_eq!(settled.revision, first.revision);

    folder.write("unrelated.txt", "not a resource");
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(source.status(), settled, "a neighbour is no change");
}

#[test]
fn a_file_that_a_resource_names_counts_wherever_it_is() {
    let (folder, elsewhere) = (folder(), TestFolder::new());
    let secret = elsewhere.write("secret", "first");
    let path = folder.write("mesh.yaml", &configuration(1, secret.to_str().unwrap()));
    let (source, first) = Source::open_looking(&path, NEVER_MS).unwrap();
    assert_eq!(password(&first), "first");
    let topologies = source.watch();

    fs::rename(elsewhere.write("new", "second"), &secret).unwrap();
    wait_until("the new password", || {
        password(&topologies.borrow()) == "second"
    });
    let status = source.status();
    assert_eq!(
        status.revision, first.revision,
        "a secret does not show in the revision"
    );
    assert!(status.loaded_at > SystemTime::UNIX_EPOCH);

    fs::remove_file(&secret).unwrap();
    wait_until("a refusal", || source.status().last_error.is_some());
    assert_eq!(password(&topologies.borrow()), "second");
    fs::write(&secret, "third").unwrap();
    wait_until("the third password", || {
        password(&topologies.borrow()) == "third"
    });
}

/// A module of one function that always gives that slot.
fn module_of_slot(slot: u8) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend(b"\x01\x07\x01\x60\x02\x7e\x7f\x01\x7f"); // its type: (i64, i32) -> i32
    module.extend(b"\x03\x02\x01\0"); // a function of this type
    module.extend(b"\x07\x10\x01\x0cslot_integer\0\0"); // its export
    module.extend([0x0a, 6, 1, 4, 0, 0x41, slot, 0x0b]); // its code: i32.const slot
    module
}

fn slot_of_seven(topology: &Topology) -> usize {
    use dbmesh_model::topology::sharding::{Algorithm, Table};
    let sharding = topology.services[0].sharding.as_ref().unwrap();
    let Table::Sharded(table) = &sharding.tables["t_own"] else {
        panic!("{:?}", sharding.tables);
    };
    match &table.table.as_ref().unwrap().algorithm {
        Algorithm::Wasm { module } => module.slot_of_integer(7, 2).unwrap().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_module_of_an_algorithm_is_taken_up_when_it_is_replaced() {
    let folder = folder();
    let sharded = with_pool(1)
        .replace("user: app\n", "db: shop\n      user: app\n")
        .replace(
            "    trafficStrategy",
            "    dataShard: shop\n    trafficStrategy",
        )
        .replace("user: mesh}", "user: mesh, db: shop}");
    let shard = "---\napiVersion: core.database-mesh.io/v1alpha1\nkind: DataShard\nmetadata: {name: shop}\nspec:\n  \
                 algorithms: {own: {type: WASM, props: {module: own.wasm}}}\n  rules:\n  - tableName: t_own\n    tableStrategy: \
                 {tableShardingAlgorithmName: own, tableShardingColumn: id}\n    actualDatanodes: {valueSource: {expression: \
                 \"db0.t_own_{0..1}\"}}\n";
    let file = folder.write("mesh.yaml", &(sharded + shard));
    let path = file.with_file_name("own.wasm");
    fs::write(&path, module_of_slot(0)).unwrap();
    let (source, first) = Source::open_looking(&file, NEVER_MS).unwrap();
    assert_eq!(slot_of_seven(&first), 0);
    let topologies = source.watch();

    let new = file.with_file_name("new.wasm");
    fs::write(&new, module_of_slot(1)).unwrap();
    fs::rename(&new, &path).unwrap();
    wait_until("the new module", || {
        slot_of_seven(&topologies.borrow()) == 1
    });
    assert_ne!(
        source.status().revision,
        first.revision,
        "another module is another topology"
    );
    assert_eq!(
        slot_of_seven(&first),
        0,
        "who has the old topology has the old module"
    );

    fs::write(&path, module_of_slot(2)).unwrap();
    wait_until("a refusal", || source.status().last_error.is_some());
    assert_eq!(slot_of_seven(&topologies.borrow()), 1);
}

#[test]
fn files_come_and_go_in_a_folder() {
    let folder = folder();
    let (source, _) = Source::open_looking(folder.path(), NEVER_MS).unwrap();
    let topologies = source.watch();
    let second = with_pool(1);
    let endpoint = second.rsplit("---\n").next().unwrap().replace("db0", "db1");
    let added = folder.write("more.yaml", &endpoint);
    wait_until("a second endpoint", || {
        topologies.borrow().endpoints().len() == 2
    });
    fs::remove_file(added).unwrap();
    wait_until("one endpoint", || {
        topologies.borrow().endpoints().len() == 1
    });
}

/// The link in the middle is in a folder that is not watched: only looking finds this.
#[test]
fn what_nobody_reports_is_found_by_looking() {
    let (folder, links, targets) = (folder(), TestFolder::new(), TestFolder::new());
    let secret = targets.write("password", "first");
    for size in [1, 2] {
        let target = targets.write(
            &format!("{size}.yaml"),
            &configuration(size, secret.to_str().unwrap()),
        );
        symlink(target, links.path().join(size.to_string())).unwrap();
    }
    let middle = links.path().join("current");
    symlink("1", &middle).unwrap();
    let path = folder.path().join("linked.yaml");
    symlink(&middle, &path).unwrap();
    let (source, first) = Source::open_looking(&path, 100).unwrap();
    assert_eq!(pool_size(&first), 1);
    symlink("2", links.path().join("next")).unwrap();
    fs::rename(links.path().join("next"), middle).unwrap();
    wait_for_pool(&source, 2);
}

#[test]
fn a_folder_that_is_replaced_is_watched_again() {
    let outer = TestFolder::new();
    let inner = outer.path().join("conf");
    let fill = |size: u32| {
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("password"), "first").unwrap();
        fs::write(inner.join("mesh.yaml"), with_pool(size)).unwrap();
    };
    fill(1);
    let (source, _) = Source::open_looking(&inner, NEVER_MS).unwrap();
    fs::rename(&inner, outer.path().join("old")).unwrap();
    fill(2);
    wait_for_pool(&source, 2);
    fs::write(inner.join("mesh.yaml"), with_pool(3)).unwrap();
    wait_for_pool(&source, 3);
}

#[test]
fn a_configuration_that_is_wrong_at_the_start_opens_nothing() {
    let folder = TestFolder::new();
    assert!(Source::open(folder.path().join("absent.yaml")).is_err());
    let path = folder.write("mesh.yaml", "kind: [");
    let defects = Source::open(path).err().unwrap();
    assert!(defects.errors() > 0);
}

#[test]
fn the_thread_ends_with_the_source_and_receivers_keep_the_last_topology() {
    let folder = folder();
    let (source, first) = Source::open(folder.path().join("mesh.yaml")).unwrap();
    let topologies = source.watch();
    let published = Arc::downgrade(&source.published);
    assert!(published.upgrade().is_some());
    drop(source);
    wait_until("the end of the thread", || published.strong_count() == 0);
    assert!(Arc::ptr_eq(&first, &topologies.borrow()));
}

#[test]
fn the_account_is_written_as_metrics() {
    let folder = folder();
    let (source, first) = Source::open(folder.path().join("mesh.yaml")).unwrap();
    let mut out = Text::new();
    let refused = SourceStatus {
        reloads_failed: 2,
        last_error: Some(Vec::new()),
        ..source.status()
    };
    refused.metrics(&mut out);
    let text = out.finish();
    let revision = format!(
        "dbmesh_config_info{{revision=\"{:016x}\"}} 1\n",
        first.revision
    );
    assert!(text.contains(&revision), "{text}");
    assert!(
        text.contains("\ndbmesh_config_last_reload_ok 0\n"),
        "{text}"
    );
    assert!(
        text.contains("\ndbmesh_config_reloads_total{result=\"failed\"} 2\n"),
        "{text}"
    );
}
