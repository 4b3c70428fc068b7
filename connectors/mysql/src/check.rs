//! What `millstream check` says about a MySQL or MariaDB sink, without changing anything.

use std::sync::Arc;

use connector_api::{Error, Finding, Result, Severity, Target};

use crate::catalog;
use crate::ddl::Wanted;
use crate::error::Failure;
use crate::evolve::is_ours;
use crate::gap::{Rights, gaps};
use crate::options::Options;
use crate::plan::check_target;
use crate::session::{Server, Session};
use crate::sql::literal;

/// Less than this is a note: a row of the source may be larger.
const PACKET_LOW: usize = 16 << 20;

/// Checks the connection, the user's rights, the server's settings and the target tables.
///
/// # Errors
/// None that is not a finding; the result leaves room for them.
pub async fn check(_name: &str, options: &Options, targets: &[Arc<Target>]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let place = match options.connect_options() {
        Ok(wanted) => match wanted.get_socket() {
            Some(socket) => {
                format!("database {:?} at {}", wanted.get_database().unwrap_or_default(), socket.display())
            }
            None => format!(
                "database {:?} at {}:{}",
                wanted.get_database().unwrap_or_default(),
                wanted.get_host(),
                wanted.get_port()
            ),
        },
        Err(error) => return Ok(vec![of_error("mysql-url", "option url", error)]),
    };
    let mut session = match Session::open(options).await {
        Ok(session) => session,
        Err(error) => return Ok(vec![of_error("mysql-unreachable", &place, error)]),
    };
    let server = session.server.clone();
    findings.extend(check_server(&server, &place));
    match missing_rights(&mut session, options.create_tables).await {
        Ok((missing, _)) if missing.is_empty() => {}
        Ok((missing, user)) => {
            let (missing, database) = (missing.join(", "), crate::sql::quote(&server.database));
            findings.push(
                Finding::new(
                    Severity::Error,
                    "mysql-rights",
                    &place,
                    format!("the user lacks the rights {missing}"),
                )
                .with_remedy(format!("GRANT {missing} ON {database}.* TO {user};")),
            );
        }
        Err(failure) => {
            findings.push(of_error("mysql-unreadable", &place, failure.into_error("read the user's rights")));
        }
    }
    for target in targets {
        match check_target(target) {
            Err(error) => {
                findings.push(of_error("mysql-mapping", &format!("table {:?}", target.table), error))
            }
            Ok(()) => check_table(options, &mut session, target, &server, &mut findings).await,
        }
    }
    // Nothing depends on a clean end.
    let _ = session.close().await;
    Ok(findings)
}

fn check_server(server: &Server, place: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |severity, code, what: String, remedy: &str| {
        findings.push(Finding::new(severity, code, place, what).with_remedy(remedy));
    };
    if server.packet < PACKET_LOW {
        note(
            Severity::Note,
            "mysql-packet",
            format!("max_allowed_packet is {} bytes; a larger row is refused", server.packet),
            "SET GLOBAL max_allowed_packet = 67108864; (and max_allowed_packet=64M in the server's configuration)",
        );
    }
    if server.statement_log {
        note(
            Severity::Warning,
            "mysql-binlog-format",
            "the binary log has statements, so the sink has to use REPEATABLE READ, which locks more"
                .to_owned(),
            "SET GLOBAL binlog_format = 'ROW'; (and binlog_format=ROW in the server's configuration)",
        );
    }
    if server.exact == "utf8mb4_bin" {
        note(
            Severity::Warning,
            "mysql-collation",
            format!(
                "version {} has no collation in which blanks at the end count; keys that differ by them alone are one",
                server.version
            ),
            "use MySQL 8.0.17 or MariaDB 10.2, or newer",
        );
    }
    findings
}

/// The rights that the sink needs and nobody gave, and the user who needs them.
async fn missing_rights(session: &mut Session, create: bool) -> Result<(Vec<&'static str>, String), Failure> {
    let needed: &[&str] = match create {
        true => &["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER"],
        // The bookkeeping tables are made in any case.
        false => &["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE"],
    };
    let (grantees, shown) = grantees(session).await?;
    let held = session
        .rows(format!(
            "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE IN ({grantees}) \
             UNION SELECT PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES \
             WHERE GRANTEE IN ({grantees}) AND DATABASE() LIKE TABLE_SCHEMA"
        ))
        .await?;
    let held: Vec<String> = held.into_iter().flatten().flatten().collect();
    let missing = needed.iter().filter(|right| !held.iter().any(|held| held.eq_ignore_ascii_case(right)));
    Ok((missing.copied().collect(), shown))
}

/// The rights of SELECT, UPDATE and DELETE that nobody gave for one table, not even for it alone.
pub async fn lacking(session: &mut Session, table: &str) -> Result<Vec<&'static str>, Failure> {
    let (grantees, _) = grantees(session).await?;
    let held = session
        .rows(format!(
            "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE IN ({grantees}) \
             UNION SELECT PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES \
             WHERE GRANTEE IN ({grantees}) AND DATABASE() LIKE TABLE_SCHEMA \
             UNION SELECT PRIVILEGE_TYPE FROM information_schema.TABLE_PRIVILEGES \
             WHERE GRANTEE IN ({grantees}) AND TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {}",
            literal(table)
        ))
        .await?;
    let held: Vec<String> = held.into_iter().flatten().flatten().collect();
    let lacks = |right: &&str| !held.iter().any(|held| held.eq_ignore_ascii_case(right));
    Ok(["SELECT", "UPDATE", "DELETE"].into_iter().filter(lacks).collect())
}

/// The user and its roles as the catalog names who has rights, as literals; and the user, quoted.
async fn grantees(session: &mut Session) -> Result<(String, String), Failure> {
    let user = session.rows("SELECT CURRENT_USER()".to_owned()).await?;
    let user = user.into_iter().flatten().flatten().next().unwrap_or_default();
    let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
    let shown = format!("'{}'@'{}'", name.replace('\'', "''"), host.replace('\'', "''"));
    let mut grantees = vec![literal(&shown)];
    // A server without roles has no such table.
    if let Ok(roles) = session.rows("SELECT ROLE_NAME FROM information_schema.ENABLED_ROLES".to_owned()).await
    {
        let roles = roles.into_iter().flatten().flatten();
        grantees.extend(
            roles.flat_map(|role| [literal(&format!("'{role}'@''")), literal(&format!("'{role}'@'%'"))]),
        );
    }
    Ok((grantees.join(", "), shown))
}

async fn check_table(
    options: &Options,
    session: &mut Session,
    target: &Target,
    server: &Server,
    findings: &mut Vec<Finding>,
) {
    let place = format!("table {:?}", target.table);
    let ours = match is_ours(session, &target.table).await {
        Ok(ours) => ours,
        Err(error) => return findings.push(of_error("mysql-unreadable", &place, error)),
    };
    let object = match catalog::read(session, &target.table).await {
        Ok(object) => object,
        Err(error) => return findings.push(of_error("mysql-unreadable", &place, error)),
    };
    let wanted = Wanted { target, server };
    let rights = Rights { create: options.create_tables, ours };
    for gap in gaps(&wanted, &object) {
        let finding = gap.finding(&wanted, rights);
        findings.push(match gap.repair(&wanted, rights) {
            None => finding,
            Some(_) => Finding {
                severity: Severity::Note,
                what: format!("{}; the sink will see to it", finding.what),
                remedy: None,
                ..finding
            },
        });
    }
}

fn of_error(code: &'static str, place: &str, error: Error) -> Finding {
    let finding = Finding::new(Severity::Error, code, place, error.to_string());
    match error.remedy() {
        Some(remedy) => finding.with_remedy(remedy),
        None => finding,
    }
}
