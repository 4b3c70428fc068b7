//! What needs the state of a key inside the transaction: scripts, which Redis runs at `EXEC` in their place.

mod erase;

use crate::options::Form;

use erase::{ACT, FIND, READING, UNSTREAM};

/// A function of Lua that sets fields of a row kept as a hash: the row's key, whether one that is not there is made,
/// milliseconds to live or 0, and the first of the arguments that are fields: `+` name value, or `-` name and nothing for null.
///
/// A key of another type makes way: the sink owns its keys.
const SET_HASH: &str = r"
local function set(key, make, ttl, first)
  if redis.call('TYPE', key).ok ~= 'hash' then
    if not make then return 0 end
    redis.call('UNLINK', key)
  end
  for at = first, #ARGV, 3 do
    if ARGV[at] == '+' then redis.call('HSET', key, ARGV[at + 1], ARGV[at + 2])
    else redis.call('HDEL', key, ARGV[at + 1]) end
  end
  if ttl > 0 then redis.call('PEXPIRE', key, ttl) end
  return 1
end
";

/// The same for a row kept as JSON; names and values are pieces of JSON, and there is no `-`. The text is cut at its
/// outermost members and put together again: numbers pass without being read, so that none is rounded.
const SET_JSON: &str = r#"
local function past_string(s, i)
  i = i + 1
  while i <= #s do
    local c = s:byte(i)
    if c == 92 then i = i + 2 elseif c == 34 then return i + 1 else i = i + 1 end
  end
  return i
end
local function set(key, make, ttl, first)
  local text = redis.call('TYPE', key).ok == 'string' and redis.call('GET', key) or nil
  if text and not (text:sub(1, 1) == '{' and text:sub(-1) == '}') then text = nil end
  if not text and not make then return 0 end
  local names, values = {}, {}
  local i = 2
  while text and i < #text do
    local after = past_string(text, i)
    local name = text:sub(i, after - 1)
    local from, depth = after + 1, 0
    i = from
    while i < #text do
      local c = text:byte(i)
      if c == 34 then i = past_string(text, i)
      elseif c == 44 and depth == 0 then break
      else
        if c == 123 or c == 91 then depth = depth + 1 elseif c == 125 or c == 93 then depth = depth - 1 end
        i = i + 1
      end
    end
    if not values[name] then names[#names + 1] = name end
    values[name] = text:sub(from, i - 1)
    i = i + 1
  end
  for at = first, #ARGV, 3 do
    if not values[ARGV[at + 1]] then names[#names + 1] = ARGV[at + 1] end
    values[ARGV[at + 1]] = ARGV[at + 2]
  end
  local out = {}
  for at, name in ipairs(names) do out[at] = name .. ':' .. values[name] end
  redis.call('SET', key, '{' .. table.concat(out, ',') .. '}')
  if ttl > 0 then redis.call('PEXPIRE', key, ttl) end
  return 1
end
"#;

/// One row. `KEYS[1]`: its key; `ARGV`: `1` to make a row that is not there, milliseconds to live, the fields.
const ONE: &str = "return set(KEYS[1], ARGV[1] == '1', tonumber(ARGV[2]), 3)";

/// Every row of a table. `ARGV[1]` for `SCAN`, `ARGV[2]` the pattern that names must match, `ARGV[3]` the bookkeeping key,
/// which stays whatever it is called; then the fields.
const EVERY: &str = r"
local from = '0'
repeat
  local found = redis.call('SCAN', from, 'MATCH', ARGV[1], 'COUNT', 1000)
  from = found[1]
  for _, key in ipairs(found[2]) do
    if key ~= ARGV[3] and string.find(key, ARGV[2]) then set(key, false, 0, 4) end
  end
until from == '0'
return 1
";

/// Deletes every row of a table, in the place of the function above.
const UNLINK: &str = "local function set(key) redis.call('UNLINK', key) end";

/// Moves a row to its new key, if it is there. `KEYS`: the old one, the new one.
const MOVE: &str = r"
if KEYS[1] ~= KEYS[2] and redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[2]) end
return 1
";

/// The scripts of a session, by the names under which the server keeps them.
#[derive(Debug, Clone)]
pub struct Scripts {
    /// Sets fields of one row.
    pub set: String,
    /// Sets fields of every row of a table.
    pub set_every: String,
    /// Moves a row to another key.
    pub rename: String,
    /// Deletes every row of a table.
    pub clear: String,
    /// Erases a person's rows.
    pub erase: String,
    /// Erases a person's entries of streams.
    pub unstream: String,
}

impl Scripts {
    /// The texts, in the order of the names that [`Scripts::named`] takes.
    pub fn texts(form: Form) -> [String; 6] {
        let set = match form {
            Form::Hash => SET_HASH,
            Form::Json => SET_JSON,
        };
        [
            format!("{set}{ONE}"),
            format!("{set}{EVERY}"),
            MOVE.to_owned(),
            format!("{UNLINK}{EVERY}"),
            format!("{set}{READING}{ACT}"),
            Self::unstream_text(),
        ]
    }

    /// With the names that the server gave.
    pub fn named([set, set_every, rename, clear, erase, unstream]: [String; 6]) -> Scripts {
        Scripts { set, set_every, rename, clear, erase, unstream }
    }

    /// The text that counts and erases entries of streams.
    pub fn unstream_text() -> String {
        format!("{READING}{UNSTREAM}")
    }

    /// The text that finds rows.
    pub fn find() -> String {
        format!("{READING}{FIND}")
    }
}
