//! The scripts that find and erase a person's rows.
//!
//! They run inside of the transaction, at its `EXEC`, so that rows which the same transaction wrote are met, and nothing
//! comes in between. Text is compared byte by byte; JSON is cut into pieces and never read as numbers, so that none is rounded.

/// What they share. `ARGV[1]` is `hash` or `json`, `ARGV[2]` the bookkeeping key; `word` and `words` read on from there.
pub(super) const READING: &str = r#"
local form, cursor, at = ARGV[1], ARGV[2], 3
local function word() at = at + 1 return ARGV[at - 1] end
local function words()
  local list = {}
  for n = 1, tonumber(word()) do list[n] = word() end
  return list
end
local function skip(s, i) return string.find(s, '[^ \t\r\n]', i) or #s + 1 end
local function past_string(s, i)
  i = i + 1
  while i <= #s do
    local c = s:byte(i)
    if c == 92 then i = i + 2 elseif c == 34 then return i + 1 else i = i + 1 end
  end
  return i
end
local function members(text)
  local found = {}
  local i = skip(text, 1)
  if text:sub(i, i) ~= '{' then return found end
  i = skip(text, i + 1)
  while text:byte(i) == 34 do
    local after = past_string(text, i)
    local read, name = pcall(cjson.decode, '[' .. text:sub(i, after - 1) .. ']')
    i = skip(text, after)
    if text:sub(i, i) ~= ':' then return found end
    i = skip(text, i + 1)
    local from, depth = i, 0
    while i <= #text do
      local c = text:byte(i)
      if c == 34 then i = past_string(text, i)
      elseif depth == 0 and (c == 44 or c == 125) then break
      else
        if c == 123 or c == 91 then depth = depth + 1 elseif c == 125 or c == 93 then depth = depth - 1 end
        i = i + 1
      end
    end
    if read then found[name[1]] = (text:sub(from, i - 1):gsub('[ \t\r\n]+$', '')) end
    i = skip(text, i + 1)
  end
  return found
end
local function plain(piece)
  if not piece or piece == 'null' then return nil end
  local c = piece:byte(1)
  if c == 123 or c == 91 then return nil end
  if c ~= 34 then return piece end
  local read, text = pcall(cjson.decode, '[' .. piece .. ']')
  return read and text[1] or nil
end
local function below(piece, path)
  for _, name in ipairs(path) do piece = piece and members(piece)[name] end
  return plain(piece)
end
local function value(key, column, path)
  local kind = redis.call('TYPE', key).ok
  if form == 'json' then
    return kind == 'string' and below(members(redis.call('GET', key))[column], path) or nil
  end
  local field = kind == 'hash' and redis.call('HGET', key, column)
  if not field or #path == 0 then return field or nil end
  return below(field, path)
end
local function differs(key, first)
  local kind = redis.call('TYPE', key).ok
  if kind ~= (form == 'json' and 'string' or 'hash') then return false end
  for i = first, #ARGV, 3 do
    if form == 'json' then
      local name = cjson.decode('[' .. ARGV[i + 1] .. ']')[1]
      local piece = members(redis.call('GET', key))[name]
      if piece ~= ARGV[i + 2] and not (piece == nil and ARGV[i + 2] == 'null') then return true end
    else
      local field = redis.call('HGET', key, ARGV[i + 1])
      if ARGV[i] == '+' then
        if field ~= ARGV[i + 2] then return true end
      elseif field then return true end
    end
  end
  return false
end
"#;

/// Erases, behind [`READING`] and a function `set` of the form. Further words: the action, the value, how many levels; for each
/// its column, path, the column that the next level wants, and its places: a key, a key and what it must match, or what keys
/// match. Marks come last.
///
/// What is left afterwards is an error, so that the cursor does not move.
pub(super) const ACT: &str = r#"
local action, wanted, levels = word(), { [word()] = true }, {}
for l = 1, tonumber(word()) do
  local level = { column = word(), places = {} }
  level.path = words()
  level.take = word()
  for p = 1, tonumber(word()) do
    local key = word()
    local glob = word()
    level.places[p] = { key = key, glob = glob, pattern = word() }
  end
  levels[l] = level
end
local first = at
local function found(level)
  local names, seen = {}, {}
  local function add(key)
    if not seen[key] then seen[key] = true names[#names + 1] = key end
  end
  local function look(key, place)
    if key == cursor or not string.find(key, place.pattern) then return end
    local held = value(key, level.column, level.path)
    if held and wanted[held] then add(key) end
  end
  for _, place in ipairs(level.places) do
    if place.key ~= '' then
      if place.pattern == '' then
        if redis.call('EXISTS', place.key) == 1 then add(place.key) end
      else look(place.key, place) end
    else
      local from = '0'
      repeat
        local page = redis.call('SCAN', from, 'MATCH', place.glob, 'COUNT', 1000)
        from = page[1]
        for _, key in ipairs(page[2]) do look(key, place) end
      until from == '0'
    end
  end
  return names
end
for l = 1, #levels - 1 do
  local taken = {}
  for _, key in ipairs(found(levels[l])) do
    local held = value(key, levels[l].take, {})
    if held then taken[held] = true end
  end
  wanted = taken
end
local rows, left = 0, 0
for _, key in ipairs(found(levels[#levels])) do
  if action == 'delete' then
    redis.call('UNLINK', key)
    rows = rows + 1
  elseif differs(key, first) then
    local lives = redis.call('PTTL', key)
    set(key, false, 0, first)
    if lives > 0 then redis.call('PEXPIRE', key, lives) end
    rows = rows + 1
  end
end
for _, key in ipairs(found(levels[#levels])) do
  if action == 'delete' or differs(key, first) then left = left + 1 end
end
if left > 0 then return redis.error_reply('ERASE ' .. left .. ' rows are left') end
return rows
"#;

/// Finds among keys that are named, behind [`READING`]. Further words: what keys match, or nothing when they need not; column,
/// path, the column to give, the values, the keys; marks come last: with some, only keys that they would change are given.
///
/// Gives each key, and behind it `+` and the column's value, or nothing where it is null.
pub(super) const FIND: &str = r#"
local pattern, column = word(), word()
local path = words()
local take = word()
local wanted = {}
for _, text in ipairs(words()) do wanted[text] = true end
local names = words()
local first, out = at, {}
for _, key in ipairs(names) do
  local holds
  if pattern == '' then holds = redis.call('EXISTS', key) == 1
  elseif key ~= cursor and string.find(key, pattern) then
    local held = value(key, column, path)
    holds = held and wanted[held]
  end
  if holds and (first > #ARGV or differs(key, first)) then
    out[#out + 1] = key
    local taken = take ~= '' and value(key, take, {})
    out[#out + 1] = taken and '+' .. taken or ''
  end
end
return out
"#;

/// Counts entries of streams, and with `act` deletes them, behind [`READING`]. Further words: `count` or `act`, the value, the
/// column, its path, the streams.
pub(super) const UNSTREAM: &str = r#"
local op, wanted, column = word(), word(), word()
local path = words()
local streams = words()
local function holds(fields)
  for i = 1, #fields, 2 do
    local name = fields[i]
    if name == 'row' or name == 'key' or name == 'old_key' then
      if below(members(fields[i + 1])[column], path) == wanted then return true end
    end
  end
  return false
end
local function pass(act)
  local count = 0
  for _, stream in ipairs(streams) do
    local from = redis.call('TYPE', stream).ok == 'stream' and '-' or nil
    while from do
      local page = redis.call('XRANGE', stream, from, '+', 'COUNT', 500)
      for _, entry in ipairs(page) do
        if holds(entry[2]) then
          count = count + 1
          if act then redis.call('XDEL', stream, entry[1]) end
        end
      end
      local last = page[#page]
      if last then
        local time, number = string.match(last[1], '^(%d+)-(%d+)$')
        from = time .. '-' .. string.format('%.0f', tonumber(number) + 1)
      else from = nil end
    end
  end
  return count
end
if op == 'count' then return pass(false) end
local rows = pass(true)
local left = pass(false)
if left > 0 then return redis.error_reply('ERASE ' .. left .. ' entries are left') end
return rows
"#;
