"""What Redis does for the bank in one step each, in Lua.

Keys of a tenant, all in one slot:

    gw:{T}:epoch      id of the last rebuild; `grace` is the end of the time in which only figures are taken in
    gw:{T}:c:COUNTER  v epoch, p posted, l leased, b whether p has what was before; of each boot: s: spent, c: credit,
                      e: expired credit, f: whether s: is the ledger's word; m: marks told
    gw:{T}:w:BOOT     v epoch, n its last call, era its reports, x swept, closed; k:COUNTER where it has credit
    gw:{T}:k:BOOT:TICKET  the answer to a lease, for a while
    gw:{T}:x          expired credit that nobody has put on record yet

What carries another epoch than the current one counts as not there. Money is exact: doubles hold integers to 2^53.
"""

from gateway.stores.redis.link import Script

_SHARED = """
local function digits(x) return string.format('%.0f', x) end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local DAY = 86400000
local boot = ARGV[1]
local prefix = string.sub(KEYS[1], 1, -6) .. 'c:'
local known = {}

local function counter(key, v)
  local c = known[key]
  if c then return c end
  local f = redis.call('HMGET', key, 'v', 'p', 'l', 's:' .. boot, 'c:' .. boot, 'e:' .. boot)
  if f[1] == v then
    local function n(i) return tonumber(f[i] or 0) end
    c = {p = n(2), l = n(3), s = n(4), c = n(5), e = n(6)}
  else
    c = {p = 0, l = 0, s = 0, c = 0, e = 0, old = f[1]}
  end
  c.key, c.v = key, v
  known[key] = c
  return c
end

local function keep(c, w, ends)
  if c.old then redis.call('DEL', c.key) end
  redis.call('HSET', c.key, 'v', c.v, 'p', digits(c.p), 'l', digits(c.l),
    's:' .. boot, digits(c.s), 'c:' .. boot, digits(c.c), 'e:' .. boot, digits(c.e))
  local mark = 'k:' .. string.sub(c.key, #prefix + 1)
  if c.c > 0 or c.e > 0 then redis.call('HSET', w, mark, 1) else redis.call('HDEL', w, mark) end
  if ends then
    local at = digits(math.min(tonumber(ends), now + 400 * DAY) + 3 * DAY)
    if redis.call('PTTL', c.key) == -1 then redis.call('PEXPIREAT', c.key, at)
    else redis.call('PEXPIREAT', c.key, at, 'GT') end
  end
end

local function revive(c)
  if c.e > 0 then c.p, c.l, c.c, c.e = c.p - c.e, c.l + c.e, c.c + c.e, 0 end
end
"""

_ENTER = """
-- ARGV: boot, epoch that the caller knows, number of this call, number of the last call it had an answer to
local v, n, seen = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local epoch = redis.call('HMGET', KEYS[1], 'id', 'grace')
if not epoch[1] then return {'EPOCH'} end
if epoch[1] ~= v then return {'NEW', epoch[1]} end
local W = KEYS[2]
local f = redis.call('HMGET', W, 'v', 'n', 'era', 'x', 'closed')
if f[1] ~= v then
  if f[1] then redis.call('DEL', W) end
  f = {v, '0', '0', false, false}
end
if f[5] then return {'CLOSED'} end
if tonumber(f[2]) < seen then return {'LOST'} end
if n < tonumber(f[2]) then return {'STALE'} end
local era = tonumber(f[3])
local function sign()
  redis.call('HSET', W, 'v', v, 'n', ARGV[3], 'era', era)
  redis.call('PEXPIRE', W, 40 * DAY)
end
"""

LEASE = Script(
    "gw.lease.2",
    _SHARED
    + _ENTER
    + """
-- KEYS: epoch, boot's record, ticket, counters; ARGV from 5: how long a ticket is kept, then limit, need, wish, ends
if f[4] then return {'SWEPT'} end
local function answered(granted)
  local answer = {'OK'}
  for i = 4, #KEYS do
    local c, g = counter(KEYS[i], v), granted[i - 3]
    for _, figure in ipairs({g[1], g[2], c.s, c.c}) do answer[#answer + 1] = figure end
  end
  return answer
end
local told = redis.call('GET', KEYS[3])
if told then
  local was = cmsgpack.unpack(told)
  if was[1] == v and was[2] == era then
    sign()
    return answered(was[3])
  end
end
local left_ms = tonumber(epoch[2] or 0) - now
if left_ms > 0 and left_ms <= 60000 then return {'GRACE', left_ms} end
local grants, granted = {}, {}
for i = 4, #KEYS do
  local a = 5 + (i - 4) * 4
  local limit, need, wish = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  local c = counter(KEYS[i], v)
  local left = math.max(0, limit - c.p - c.l - (granted[c.key] or 0))
  if left < need then
    sign()
    return {'NO', i - 4, left, c.p}
  end
  local amount = math.min(math.max(need, wish), left)
  granted[c.key] = (granted[c.key] or 0) + amount
  grants[i - 3] = {amount, c.p}
end
for i = 4, #KEYS do
  local c = counter(KEYS[i], v)
  local amount = granted[c.key]
  if amount then
    c.l, c.c = c.l + amount, c.c + amount
    granted[c.key] = nil
    keep(c, W, ARGV[5 + (i - 4) * 4 + 4])
  end
end
sign()
if #KEYS > 3 then redis.call('SET', KEYS[3], cmsgpack.pack({v, era, grants}), 'PX', ARGV[5]) end
return answered(grants)
""",
)

REPORT = Script(
    "gw.report.3",
    _SHARED
    + _ENTER
    + """
-- KEYS: epoch, boot's record, counters; ARGV from 5: 1 to say again what was said before, then spent, credit, ends
local again = ARGV[5] == '1'
if f[4] and not again then return {'SWEPT'} end
local answer, odd = {'OK'}, {}
for i = 3, #KEYS do
  local a = 5 + (i - 3) * 3
  local spent, credit = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  local c = counter(KEYS[i], v)
  revive(c)
  if spent >= c.s then
    c.p, c.s = c.p + spent - c.s, spent
  elseif again then
    credit = math.max(0, credit - (c.s - spent))  -- the ledger knows already of some of it
  elseif redis.call('HGET', c.key, 'f:' .. boot) then
    c.s = spent  -- the ledger also has what was spent before the process knew of the counter
  else
    odd[#odd + 1] = {i - 3, 'fell', c.s}
    c.p, c.s = c.p + spent, spent
  end
  if not again then redis.call('HDEL', c.key, 'f:' .. boot) end
  if credit > c.c and not again then odd[#odd + 1] = {i - 3, 'credit', c.c} end
  c.l, c.c = c.l + credit - c.c, credit
  keep(c, W, ARGV[a + 3])
  answer[#answer + 1] = c.p
  answer[#answer + 1] = c.l
end
era = era + 1
sign()
if again then redis.call('HDEL', W, 'x') end
answer[#answer + 1] = odd
return answer
""",
)

EXPIRE = Script(
    "gw.expire.1",
    _SHARED
    + """
-- KEYS: epoch, boot's record, pending, counters; ARGV: boot, how long a claim lasts
local v, W = redis.call('HGET', KEYS[1], 'id'), KEYS[2]
if not v then return {'EPOCH'} end
local f = redis.call('HMGET', W, 'v', 'x', 'closed')
if f[1] == v and not f[2] and not f[3] then
  local declared = {}
  for i = 4, #KEYS do declared['k:' .. string.sub(KEYS[i], #prefix + 1)] = KEYS[i] end
  local fields = redis.call('HKEYS', W)
  for _, field in ipairs(fields) do
    if string.sub(field, 1, 2) == 'k:' and not declared[field] then return {'AGAIN'} end
  end
  for i = 4, #KEYS do
    local c = counter(KEYS[i], v)
    if not c.old and c.c > 0 then
      redis.call('HSET', KEYS[3], boot .. '|' .. string.sub(c.key, #prefix + 1), digits(c.c) .. ':0')
      c.p, c.l, c.e, c.c = c.p + c.c, c.l - c.c, c.e + c.c, 0
      keep(c, W)
    end
  end
  redis.call('HSET', W, 'x', 1)
end
local answer, pending = {'OK', 0}, redis.call('HGETALL', KEYS[3])
for i = 1, #pending, 2 do
  local amount, until_ms = string.match(pending[i + 1], '^(%d+):(%d+)$')
  local wait = tonumber(until_ms) - now
  local mine = string.sub(pending[i], 1, #boot + 1) == boot .. '|'
  if mine then answer[2] = answer[2] + 1 end
  if mine and (wait <= 0 or wait > tonumber(ARGV[2])) then
    redis.call('HSET', KEYS[3], pending[i], amount .. ':' .. digits(now + tonumber(ARGV[2])))
    answer[#answer + 1] = string.sub(pending[i], #boot + 2)
    answer[#answer + 1] = tonumber(amount)
  end
end
return answer
""",
)

ACKNOWLEDGE = Script(
    "gw.acknowledge.1",
    """
-- KEYS: pending; ARGV: boot, counters; how much of the boot's is still pending
for i = 2, #ARGV do redis.call('HDEL', KEYS[1], ARGV[1] .. '|' .. ARGV[i]) end
local left = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, #ARGV[1] + 1) == ARGV[1] .. '|' then left = left + 1 end
end
return left
""",
)

FINALISE = Script(
    "gw.finalise.1",
    _SHARED
    + """
-- KEYS: epoch, boot's record, counters; ARGV: boot, then spent (or -1: as it said), ends
local v, W = redis.call('HGET', KEYS[1], 'id'), KEYS[2]
if not v then return {'EPOCH'} end
local f = redis.call('HMGET', W, 'v', 'closed')
if f[1] == v and f[2] then return {'OK'} end
if f[1] and f[1] ~= v then redis.call('DEL', W) end
local declared = {}
for i = 3, #KEYS do declared['k:' .. string.sub(KEYS[i], #prefix + 1)] = true end
for _, field in ipairs(redis.call('HKEYS', W)) do
  if string.sub(field, 1, 2) == 'k:' and not declared[field] then return {'AGAIN'} end
end
for i = 3, #KEYS do
  local c = counter(KEYS[i], v)
  local spent = tonumber(ARGV[2 + (i - 3) * 2])
  revive(c)
  if spent > c.s then c.p, c.s = c.p + spent - c.s, spent end
  c.l, c.c = c.l - c.c, 0
  keep(c, W, ARGV[3 + (i - 3) * 2])
end
redis.call('HSET', W, 'v', v, 'closed', 1)
redis.call('PEXPIRE', W, DAY)
return {'OK'}
""",
)

CLEAR = Script(
    "gw.rebuild.clear.1",
    """
-- KEYS: epoch, lock; ARGV: token, lock_ms; from here on nobody is served until the new epoch is there
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[1])
return 1
""",
)

FILL = Script(
    "gw.rebuild.fill.3",
    """
-- KEYS: lock, counters; ARGV: token, lock_ms, new epoch, then of each counter: posted, ends, boots, (boot, spent) ...
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local a = 4
for i = 2, #KEYS do
  redis.call('DEL', KEYS[i])
  redis.call('HSET', KEYS[i], 'v', ARGV[3], 'p', ARGV[a], 'l', 0, 'b', 1)
  if ARGV[a + 1] == '0' then redis.call('PEXPIRE', KEYS[i], 40 * 86400000)
  else redis.call('PEXPIREAT', KEYS[i], ARGV[a + 1]) end
  local boots = tonumber(ARGV[a + 2])
  a = a + 3
  for _ = 1, boots do
    redis.call('HSET', KEYS[i], 's:' .. ARGV[a], ARGV[a + 1], 'f:' .. ARGV[a], 1)
    a = a + 2
  end
end
return 1
""",
)

BEFORE = Script(
    "gw.before.1",
    """
-- KEYS: epoch, counters; ARGV: of each counter: what was posted before it was, its end; once, whoever tells it
local v = redis.call('HGET', KEYS[1], 'id')
if not v then return 0 end
for i = 2, #KEYS do
  local a = (i - 2) * 2
  if redis.call('HGET', KEYS[i], 'v') ~= v then
    redis.call('DEL', KEYS[i])
    redis.call('HSET', KEYS[i], 'v', v, 'p', 0, 'l', 0)
    redis.call('PEXPIREAT', KEYS[i], ARGV[a + 2])
  end
  if redis.call('HSETNX', KEYS[i], 'b', 1) == 1 then redis.call('HINCRBY', KEYS[i], 'p', ARGV[a + 1]) end
end
return 1
""",
)

OPEN = Script(
    "gw.rebuild.open.1",
    """
-- KEYS: epoch, lock; ARGV: token, new epoch, grace_ms
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 'id', ARGV[2])
if tonumber(ARGV[3]) > 0 then
  redis.call('HSET', KEYS[1], 'grace', string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[3]))
else
  redis.call('HDEL', KEYS[1], 'grace')
end
redis.call('DEL', KEYS[2])
return 1
""",
)

CORRECT = Script(
    "gw.correct.1",
    _SHARED
    + """
-- KEYS: epoch, counters; ARGV: whose share, then of each counter: all that was put right, its end
local v = redis.call('HGET', KEYS[1], 'id')
if not v then return 0 end
for i = 2, #KEYS do
  local c = counter(KEYS[i], v)
  local amount = tonumber(ARGV[2 + (i - 2) * 2])
  c.p, c.s = c.p + amount - c.s, amount
  if c.old then redis.call('DEL', c.key) end
  redis.call('HSET', c.key, 'v', v, 'p', digits(c.p), 'l', digits(c.l), 's:' .. boot, digits(c.s))
  if redis.call('PTTL', c.key) == -1 then redis.call('PEXPIREAT', c.key, ARGV[3 + (i - 2) * 2]) end
end
return 1
""",
)

FIRST = Script(
    "gw.first.1",
    """
-- KEYS: epoch, counter; ARGV: mark
local v = redis.call('HGET', KEYS[1], 'id')
if not v or redis.call('HGET', KEYS[2], 'v') ~= v then return 1 end
return redis.call('HSETNX', KEYS[2], 'm:' .. ARGV[1], 1)
""",
)
