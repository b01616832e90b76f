//! Users and groups, read from the guest's own files: a static glibc has no NSS.

use std::os::unix::fs::MetadataExt;

/// A file beyond this is cut: nobody's real one comes near.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// As many supplementary groups as the kernel takes (NGROUPS_MAX).
const MAX_GROUPS: usize = 65_536;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// Empty when the user has no entry.
    pub name: Vec<u8>,
    pub home: Vec<u8>,
    pub shell: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserError {
    NoUser,
    NoGroup,
}

/// A file kept in memory as long as it does not change: an exec then costs a stat.
struct Cached {
    path: String,
    stamp: Option<[i64; 6]>,
    content: Vec<u8>,
}

impl Cached {
    fn new(path: String) -> Cached {
        Cached { path, stamp: None, content: Vec::new() }
    }

    fn content(&mut self) -> &[u8] {
        let stamp = std::fs::metadata(&self.path)
            .map(|m| [m.ino() as i64, m.size() as i64, m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()])
            .ok();
        if stamp.is_none() || stamp != self.stamp {
            self.content = std::fs::read(&self.path).unwrap_or_default(); // No file: nobody is in it.
            self.content.truncate(MAX_BYTES);
            self.stamp = stamp;
        }
        &self.content
    }
}

pub struct Users {
    passwd: Cached,
    group: Cached,
}

impl Users {
    /// Looks into `etc`/passwd and `etc`/group.
    pub fn new(etc: &str) -> Users {
        Users { passwd: Cached::new([etc, "/passwd"].concat()), group: Cached::new([etc, "/group"].concat()) }
    }

    /// Finds `spec`: "name", "name:group", "uid" or "uid:gid"; empty is root. A number needs no entry. With a group
    /// named the user has that one alone, as in a Containerfile's USER.
    pub fn find(&mut self, spec: &str) -> Result<User, UserError> {
        let (wanted, group) = match spec.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (spec, None),
        };
        let wanted = if wanted.is_empty() { "0" } else { wanted };
        let mut user = find_user(self.passwd.content(), wanted).ok_or(UserError::NoUser)?;
        match group {
            Some(group) => user.gid = find_group(self.group.content(), group).ok_or(UserError::NoGroup)?,
            None if !user.name.is_empty() => add_groups(self.group.content(), &mut user),
            None => {}
        }
        Ok(user)
    }
}

fn number(field: &[u8]) -> Option<u32> {
    // The last number means "none" to setuid and chown.
    std::str::from_utf8(field).ok()?.parse().ok().filter(|&id| id != u32::MAX)
}

fn lines(content: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    content.split(|&byte| byte == b'\n').map(|line| line.split(|&byte| byte == b':').collect())
}

/// passwd: name:password:uid:gid:comment:home:shell
fn find_user(passwd: &[u8], wanted: &str) -> Option<User> {
    let id = number(wanted.as_bytes());
    let mut by_id = None;
    for fields in lines(passwd) {
        let (uid, gid) = match fields.as_slice() {
            [_, _, uid, gid, _, _, _] => match (number(uid), number(gid)) {
                (Some(uid), Some(gid)) => (uid, gid),
                _ => continue,
            },
            _ => continue,
        };
        let found = || User {
            uid,
            gid,
            groups: Vec::new(),
            name: fields[0].to_vec(),
            home: fields[5].to_vec(),
            shell: fields[6].to_vec(),
        };
        if fields[0] == wanted.as_bytes() {
            return Some(found());
        }
        if by_id.is_none() && id == Some(uid) {
            by_id = Some(found());
        }
    }
    by_id.or_else(|| {
        id.map(|uid| User { uid, gid: 0, groups: Vec::new(), name: Vec::new(), home: Vec::new(), shell: Vec::new() })
    })
}

/// group: name:password:gid:member,member
fn find_group(group: &[u8], wanted: &str) -> Option<u32> {
    let named = lines(group).find(|fields| fields.len() == 4 && fields[0] == wanted.as_bytes());
    match named {
        Some(fields) => number(fields[2]),
        None => number(wanted.as_bytes()),
    }
}

fn add_groups(group: &[u8], user: &mut User) {
    for fields in lines(group) {
        if fields.len() != 4 || !fields[3].split(|&byte| byte == b',').any(|member| member == user.name) {
            continue;
        }
        if let Some(gid) = number(fields[2]) {
            if !user.groups.contains(&gid) && user.groups.len() < MAX_GROUPS {
                user.groups.push(gid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash
# no user
broken:x:1:1
nan:x:one:1::/:/bin/sh
node:x:1000:1001:,,,:/home/node:/bin/sh
again:x:1000:7::/again:/bin/false
1234:x:5:6::/digits:/bin/sh
none:x:4294967295:0::/:/bin/sh
last:x:9:9::/last:/bin/sh";
    const GROUP: &[u8] = b"root:x:0:\nnode:x:1001:\nwheel:x:10:root,node\nsudo:x:27:anode,nodes\nvideo:x:44:node\nvideo2:x:44:node\nbad:x:y:node\n99:x:98:\n";

    fn users(name: &str) -> (Users, std::path::PathBuf) {
        let etc = std::env::temp_dir().join(format!("kiln-users-{}-{}", name, std::process::id()));
        assert!(std::fs::create_dir_all(&etc).is_ok());
        assert!(std::fs::write(etc.join("passwd"), PASSWD).is_ok());
        assert!(std::fs::write(etc.join("group"), GROUP).is_ok());
        (Users::new(&etc.to_string_lossy()), etc)
    }

    /// uid, gid, supplementary groups and home.
    fn found(users: &mut Users, spec: &str) -> Result<(u32, u32, Vec<u32>, String), UserError> {
        users.find(spec).map(|u| (u.uid, u.gid, u.groups, String::from_utf8_lossy(&u.home).into_owned()))
    }

    #[test]
    fn a_user_is_a_name_or_a_number_with_or_without_a_group() {
        let (mut users, etc) = users("find");
        let home = String::from;
        assert_eq!(found(&mut users, ""), Ok((0, 0, vec![10], home("/root"))));
        assert_eq!(found(&mut users, "node"), Ok((1000, 1001, vec![10, 44], home("/home/node"))));
        assert_eq!(found(&mut users, "1000"), Ok((1000, 1001, vec![10, 44], home("/home/node"))), "the first of two");
        assert_eq!(found(&mut users, "node:video"), Ok((1000, 44, vec![], home("/home/node"))), "that group alone");
        assert_eq!(found(&mut users, "node:77"), Ok((1000, 77, vec![], home("/home/node"))));
        assert_eq!(found(&mut users, "4242"), Ok((4242, 0, vec![], home(""))), "a number needs no entry");
        assert_eq!(found(&mut users, "4242:4243"), Ok((4242, 4243, vec![], home(""))));
        assert_eq!(found(&mut users, ":10"), Ok((0, 10, vec![], home("/root"))));
        assert_eq!(found(&mut users, "last"), Ok((9, 9, vec![], home("/last"))), "without a newline behind");
        assert_eq!(found(&mut users, "1234"), Ok((5, 6, vec![], home("/digits"))), "a name wins over a number");
        assert_eq!(found(&mut users, "0:99").map(|found| found.1), Ok(98), "so it does with groups");
        assert!(std::fs::remove_dir_all(etc).is_ok());
    }

    #[test]
    fn who_is_not_there_is_not_found() {
        let (mut users, etc) = users("none");
        for spec in ["nobody", "broken", "nan", "none", "4294967295", "-1", "99999999999", "no de", "# no user"] {
            assert_eq!(users.find(spec), Err(UserError::NoUser), "{}", spec);
        }
        for spec in ["node:", "node:nogroup", "node:bad", "node:4294967295", "0:0:0"] {
            assert_eq!(users.find(spec), Err(UserError::NoGroup), "{}", spec);
        }
        assert!(std::fs::remove_dir_all(&etc).is_ok());
        assert_eq!(found(&mut users, "node"), Err(UserError::NoUser), "the files are gone");
        assert_eq!(found(&mut users, "1000"), Ok((1000, 0, vec![], String::new())));
    }
}
