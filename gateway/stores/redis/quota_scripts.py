"""What Redis does for rates and slots in one step each, in Lua.

gw.q:{SCOPE}:NAME     of a rate: its theoretical arrival time in microseconds
gw.q:{SCOPE}:NAME     of a slot: `last` time, of each boot its places b:, its deadline d:, its last call n:
"""

from gateway.stores.redis.link import Script

_SHARED = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local MINUTE = 60000000
local boot, n, lease, rates = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local function arrival(key)
  local at = tonumber(redis.call('GET', key) or 0)
  -- a clock that jumped back must not close a rate for as long
  if at > now + 2 * MINUTE then at = now + MINUTE end
  return math.max(now, at)
end

local function arrive(key, at)
  redis.call('SET', key, string.format('%.2f', at), 'PX', math.ceil((at - now) / 1000) + 60000)
end

local function slot(key)
  local s = {key = key, others = 0, mine = 0, n = 0}
  local f = redis.call('HGETALL', key)
  local at, places = {}, {}
  local time = now
  for i = 1, #f, 2 do
    local kind, name = string.sub(f[i], 1, 2), string.sub(f[i], 3)
    if f[i] == 'last' then time = math.max(time, tonumber(f[i + 1]))
    elseif kind == 'b:' then places[name] = tonumber(f[i + 1])
    elseif kind == 'd:' then at[name] = tonumber(f[i + 1])
    elseif f[i] == 'n:' .. boot then s.n = tonumber(f[i + 1]) end
  end
  for name, held in pairs(places) do
    if name == boot then s.mine = held
    elseif (at[name] or 0) > time then s.others = s.others + held
    else redis.call('HDEL', key, 'b:' .. name, 'd:' .. name, 'n:' .. name) end
  end
  s.time = time
  return s
end

local function sit(s, places)
  redis.call('HSET', s.key, 'last', string.format('%.0f', s.time), 'b:' .. boot, places,
    'd:' .. boot, string.format('%.0f', s.time + lease), 'n:' .. boot, ARGV[2])
  redis.call('PEXPIRE', s.key, 600000)
end
"""

TAKE = Script(
    "gw.quota.take.1",
    _SHARED
    + """
-- KEYS: rates, slots; ARGV from 5: of each rate per_minute, need, wish, shadow; of each slot limit, need, wish, shadow
local grants, after, a = {'OK'}, {}, 5
for i = 1, #KEYS do
  local limit, need, wish, shadow = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), ARGV[a + 3] == '1'
  a = a + 4
  if i <= rates then
    local interval, at = MINUTE / limit, arrival(KEYS[i])
    local room = math.max(0, math.floor((MINUTE - (at - now)) / interval + 0.000001))
    local amount = math.min(math.max(need, wish), room)
    if amount < need then
      if not shadow then
        return {'NO', i - 1, math.ceil((at + need * interval - now - MINUTE) / 1000)}
      end
      amount = need
    end
    after[i] = math.min(at + amount * interval, math.max(at, now + MINUTE))
    grants[#grants + 1], grants[#grants + 2] = amount, math.max(0, room - amount)
  else
    local s = slot(KEYS[i])
    if n < s.n then return {'STALE'} end
    local places = math.min(math.max(need, wish), limit - s.others)
    if places < need then
      if not shadow then return {'NO', i - 1, 1000} end
      places = need
    end
    after[i] = {s, places}
    grants[#grants + 1], grants[#grants + 2] = places, math.max(0, limit - s.others - places)
  end
end
for i = 1, #KEYS do
  if i <= rates then arrive(KEYS[i], after[i]) else sit(after[i][1], after[i][2]) end
end
return grants
""",
)

SETTLE = Script(
    "gw.quota.settle.1",
    _SHARED
    + """
-- KEYS: rates, slots; ARGV from 5: of each rate per_minute, units that come back (or a debt); of each slot places
for i = 1, #KEYS do
  if i <= rates then
    local a = 5 + (i - 1) * 2
    local interval = MINUTE / tonumber(ARGV[a])
    arrive(KEYS[i], math.max(now, arrival(KEYS[i]) - tonumber(ARGV[a + 1]) * interval))
  else
    local s = slot(KEYS[i])
    if n >= s.n then sit(s, ARGV[5 + rates * 2 + i - rates - 1]) end
  end
end
return {'OK'}
""",
)
