-- Stores the outcomes of read jobs, then leases jobs, one for each of several requests, as far as there are any.
-- ARGV: time, how far behind the head of the queue studies at hand may be in ms, whether this call was made before (1),
-- how many outcomes there are, then, for each outcome, study, number, token, outcome and the figures of its cost, packed;
-- then, for each request, worker, request, lease time in ms, kinds with the demands that it meets after them, each on a line
-- of its own, tenants ('*' for all), studies at hand, shares, whether the request was made before (1). Shares are weight and
-- cap (-1 for none) of a tenant that is not named, then name, weight and cap of those that are.
-- Answers a word for each outcome ('broken' where a job's record cannot be read), then a list for each request, which is
-- empty where there is nothing for it.
local locality, again = tonumber(ARGV[2]), ARGV[3] == '1'
local FIRST_OUTCOME, EACH_OUTCOME = 5, 5
local FIRST, EACH = FIRST_OUTCOME + EACH_OUTCOME * ARGV[4], 8
local wall, t = clocks()
local answers = {}

-- The packed records of the jobs, those of a study read at once. Other scripts' changes are not met: nothing runs beside
-- a script.
local numbers, packed = {}, {}
for place = FIRST_OUTCOME, FIRST - 1, EACH_OUTCOME do
  local some = list_of(numbers, ARGV[place])
  some[#some + 1] = ARGV[place + 1]
end
for uid, some in pairs(numbers) do
  local records = {}
  for place, record in ipairs(call('HMGET', P .. 'j:' .. uid, unpack(some))) do
    records[some[place]] = record
  end
  packed[uid] = records
end

-- By study, how many of its jobs are done now, and what they cost together.
local done, costs_of = {}, {}

local function complete(place)
  local uid, n, token = ARGV[place], ARGV[place + 1], tonumber(ARGV[place + 2])
  local record, before = packed[uid][n], costs_of[uid]
  local job = record and (type(record) == 'table' and record or cmsgpack.unpack(record))
  if settled(job, token) == 'C' then
    return 'before'
  end
  local refused = refusal(job, token)
  if refused then
    return refused
  end
  if not is_read(job[KIND]) then
    return 'misfit'
  end
  local cost = cmsgpack.unpack(ARGV[place + 4])
  leave_later(place_of(job), member_of(uid, n, job[KIND]))
  job[STATE], job[EXPIRES], job[SETTLED], job[SETTLED_HOW], job[UPDATED] = 'd', 0, token, 'C', t
  put_later(uid, n, job, 'o', ARGV[place + 3])
  packed[uid][n] = job
  cost[#cost + 1] = job[WAITED]
  for figure = 1, before and #cost or 0 do
    cost[figure] = cost[figure] + before[figure]
  end
  done[uid], costs_of[uid] = (done[uid] or 0) + 1, cost
  return 'now'
end

for place = FIRST_OUTCOME, FIRST - 1, EACH_OUTCOME do
  -- One that cannot be read must not keep the others from being counted.
  local is_read, word = pcall(complete, place)
  answers[#answers + 1] = is_read and word or 'broken'
end
for uid, finished in pairs(done) do
  count_finished(uid, finished, wall, t, costs_of[uid])
end
write_changes()
if FIRST > #ARGV then
  return answers
end

-- Jobs that were taken from their queues for requests, in order: their records are read and written together.
local picks = {}

-- Gives what was picked so far: the answers in their places.
local function give_picked()
  if #picks == 0 then
    return
  end
  -- Tokens grow.
  local token = call('INCRBY', P .. 'token', #picks) - #picks
  local wanted = {}
  for _, pick in ipairs(picks) do
    local fields = list_of(wanted, pick.uid)
    pick.at = #fields + 1
    fields[pick.at], fields[pick.at + 1] = pick.n, 's' .. pick.n
  end
  local strays = {}
  for uid, fields in pairs(wanted) do
    fields[#fields + 1] = 'begun'
    wanted[uid] = call('HMGET', P .. 'j:' .. uid, unpack(fields))
  end
  for place, pick in ipairs(picks) do
    local uid, held = pick.uid, wanted[pick.uid]
    local job = held[pick.at] and cmsgpack.unpack(held[pick.at])
    if not job then
      strays[#strays + 1] = pick
    else
      local waited = math.max(t - job[UPDATED], 0)
      job[STATE], job[WAITED], job[ATTEMPTS], job[TOKEN] = 'l', job[WAITED] + waited, job[ATTEMPTS] + 1, token + place
      job[EXPIRES], job[WORKER], job[REQUEST], job[UPDATED] = pick.expires, pick.worker, pick.request, t
      put_later(uid, pick.n, job)
      if is_read(pick.kind) and not held[#held] then
        -- The first of its jobs. The two states share a listing.
        held[#held] = '1'
        local fields = list_of(changed, uid)
        fields[#fields + 1], fields[#fields + 2] = 'begun', '1'
        call('HSET', P .. 's:' .. uid, 'state', 'reading', 'updated', wall)
      end
      answers[pick.answer] = { held[pick.at + 1], job[TOKEN], job[ATTEMPTS], job[WAITED], waited }
    end
  end
  write_changes()
  -- An entry without a job is not given to anybody.
  for _, pick in ipairs(strays) do
    call('ZREM', P .. 'l:' .. pick.kind .. ':' .. pick.tenant, member_of(pick.uid, pick.n, pick.kind))
  end
  picks = {}
end

-- A request that is made again gets the lease that it got, while it is held. That is rare, and may take a while.
local seen = {}
local function given_before(worker, request, ttl)
  give_picked()
  for _, tenant in ipairs(call('HKEYS', P .. 'open')) do
    for kind in string.gmatch('xcma', '%a') do
      for _, member in ipairs(call('ZRANGE', P .. 'l:' .. kind .. ':' .. tenant, 0, -1)) do
        local uid, n = parse(member)
        local job = get_job(uid, n)
        local is_it = job and job[WORKER] == worker and job[REQUEST] == request and job[STATE] == 'l'
        if is_it and not seen[member] then
          seen[member] = true
          job[EXPIRES] = t + ttl
          put_job(uid, n, job)
          enter(uid, n, job)
          return { call('HGET', P .. 'j:' .. uid, 's' .. n), job[TOKEN], job[ATTEMPTS], job[WAITED], 0 }
        end
      end
    end
  end
end

-- Jobs whose time has come.
for _, member in ipairs(call('ZRANGEBYSCORE', P .. 'late', '-inf', t)) do
  local uid, n = parse(member)
  local job = get_job(uid, n)
  leave(uid, n, job)
  job[UPDATED], job[NOT_BEFORE] = job[NOT_BEFORE], 0
  put_job(uid, n, job)
  enter(uid, n, job)
end

-- The shares of the tenants; requests that come together mostly have the same.
local shares, weights, caps, default_weight, default_cap
local function read_shares(text)
  if text == shares then
    return
  end
  local words = string.gmatch(text, '%S+')
  shares, weights, caps = text, {}, {}
  default_weight, default_cap = tonumber(words()), tonumber(words())
  for tenant in words do
    weights[tenant], caps[tenant] = tonumber(words()), tonumber(words())
  end
end

local function weight_of(tenant)
  return math.max(weights[tenant] or default_weight, 1)
end

local function urgency(rank)
  local waited = t - rank
  return waited >= 24 * HOUR_MS and 2 or waited >= HOUR_MS and 1 or 0
end

-- Whether a's turn comes before b's: the more urgent, then the smaller load for its weight, then who waited longest.
local function before(a, b)
  local urgent_a, urgent_b = urgency(a.rank), urgency(b.rank)
  if urgent_a ~= urgent_b then
    return urgent_a > urgent_b
  end
  local weight_a, weight_b = weight_of(a.tenant), weight_of(b.tenant)
  if a.running * weight_b ~= b.running * weight_a then
    return a.running * weight_b < b.running * weight_a
  end
  if a.rank ~= b.rank then
    return a.rank < b.rank
  end
  return a.member < b.member
end

-- Windows on the queues that may have jobs: the first of them, read once for all requests, members and ranks by turns. A
-- job that is taken leaves false; `first` is where the first that is not taken stands, and `rank` its rank.
local windows = {}
for place, waiting in ipairs(call('SMEMBERS', P .. 'waiting')) do
  local kind, tenant, demand = parse_waiting(waiting)
  local queue = queue_of(kind, tenant, demand)
  windows[place] = {
    waiting = waiting, kind = kind, tenant = tenant, demand = demand, queue = queue, page = {}, first = 1,
  }
end
local LENGTH = 2 * ((#ARGV + 1 - FIRST) / EACH + 3)

-- Moves a window on to the first job that is not taken. It is over where there is none any more.
local function move_on(window)
  local page, first = window.page, window.first
  while page[first] == false do
    first = first + 2
  end
  if not page[first] and not window.is_all then
    -- The queue still has what was taken from the window before.
    write_changes()
    page, first = call('ZRANGE', P .. window.queue, '0', LENGTH / 2 - 1, 'WITHSCORES'), 1
    window.page, window.is_all, window.places = page, #page < LENGTH, nil
  end
  window.first, window.rank = first, tonumber(page[first + 1])
  if not page[first] then
    call('SREM', P .. 'waiting', window.waiting)
    window.is_over = true
  end
end

-- Tenants with the windows on their jobs, of certain kinds, demands and tenants.
local lines = {}
local function line_of(wanted, tenants)
  local name = wanted .. ' ' .. tenants
  if lines[name] then
    return lines[name]
  end
  local kinds, demands = string.match(wanted, '^(%a*)(.*)$')
  demands = demands .. '\n'
  local allowed = tenants ~= '*' and ' ' .. tenants .. ' '
  local line, heads = {}, {}
  for _, window in ipairs(windows) do
    local tenant = window.tenant
    local is_wanted = not allowed or string.find(allowed, ' ' .. tenant .. ' ', 1, true)
    local demand = window.demand
    local is_met = not demand or string.find(demands, '\n' .. demand .. '\n', 1, true)
    if is_wanted and is_met and string.find(kinds, window.kind, 1, true) then
      if not heads[tenant] then
        heads[tenant] = { tenant = tenant, windows = {} }
        line[#line + 1] = heads[tenant]
      end
      local some = heads[tenant].windows
      some[#some + 1] = window
    end
  end
  lines[name] = line
  return line
end

-- Jobs that each tenant has running, merges and questions aside.
local running = {}
local function running_of(tenant)
  if not running[tenant] then
    -- What this script leased is counted as it is given.
    write_changes()
    running[tenant] = call('ZCARD', P .. 'l:x:' .. tenant) + call('ZCARD', P .. 'l:c:' .. tenant)
  end
  return running[tenant]
end

-- The tenant whose turn it is, with the windows on its jobs and the first of them. Where there is one tenant without a
-- cap, nobody need be counted.
local function turn_of(line)
  local waiting = 0
  for _, head in ipairs(line) do
    head.is_waiting = false
    for _, window in ipairs(head.windows) do
      if not window.is_over and not window.page[window.first] then
        move_on(window)
      end
      head.is_waiting = head.is_waiting or not window.is_over
    end
    waiting = waiting + (head.is_waiting and 1 or 0)
  end
  local turn
  for _, head in ipairs(line) do
    local cap = caps[head.tenant] or default_cap
    if head.is_waiting and (waiting > 1 or cap >= 0) then
      head.running = running_of(head.tenant)
    end
    head.rank = nil
    for _, window in ipairs(head.windows) do
      local is_capped = is_read(window.kind) and cap >= 0 and head.is_waiting and head.running >= cap
      window.is_open = not window.is_over and not is_capped
      if window.is_open then
        local member, rank = window.page[window.first], window.rank
        if not head.rank or rank < head.rank or (rank == head.rank and member < head.member) then
          head.rank, head.member, head.window = rank, member, window
        end
      end
    end
    if head.rank and (not turn or before(head, turn)) then
      turn = head
    end
  end
  return turn
end

-- Where a study's first job stands in a window; nil where it has none there.
local function find_in(window, uid)
  local page = window.page
  if not window.places then
    window.places = {}
    for place = #page - 1, window.first, -2 do
      if page[place] then
        window.places[string.match(page[place], '^%S+')] = place
      end
    end
  end
  local place = window.places[uid]
  while place and page[place] == false do
    place = place + 2
  end
  -- A study's jobs stand together.
  if place and page[place] and string.match(page[place], '^%S+') == uid then
    return place
  end
end

-- The first job of a study at hand, where it is as urgent as the first of all and not far behind: window, place, member.
-- The place is nil where it lies behind the window.
local taken, ranks_of = {}, {}
local best, best_rank, best_window, best_place
local function consider(turn, window, place, member, rank)
  local is_near = rank - turn.rank <= locality and urgency(rank) == urgency(turn.rank)
  if is_near and (not best or rank < best_rank or (rank == best_rank and member < best)) then
    best, best_rank, best_window, best_place = member, rank, window, place
  end
end

local function at_hand(turn, studies)
  best = nil
  for held in string.gmatch(studies, '%S+') do
    for _, window in ipairs(turn.windows) do
      local place = window.is_open and window.kind ~= 'a' and find_in(window, held)
      if place then
        consider(turn, window, place, window.page[place], tonumber(window.page[place + 1]))
      end
    end
  end
  if best then
    return best_window, best_place, best
  end
  for _, window in ipairs(turn.windows) do
    local is_more = window.is_open and not window.is_all and window.kind ~= 'a'
    for held in string.gmatch(is_more and studies or '', '%S+') do
      if not ranks_of[held] then
        local study = call('HMGET', P .. 's:' .. held, 'tenant', 'rank')
        -- All jobs of a study have its rank.
        ranks_of[held] = study[1] == turn.tenant and tonumber(study[2]) or -1
      end
      local rank = ranks_of[held]
      if rank >= tonumber(window.page[#window.page]) and rank - turn.rank <= locality then
        for _, member in ipairs(call('ZRANGEBYSCORE', P .. window.queue, rank, rank)) do
          if not taken[member] and string.sub(member, 1, #held + 1) == held .. ' ' then
            consider(turn, window, nil, member, rank)
          end
        end
      end
    end
  end
  return best_window, best_place, best
end

local function lease(place)
  local worker, request, ttl = ARGV[place], ARGV[place + 1], tonumber(ARGV[place + 2])
  local answer = (again or ARGV[place + 7] == '1') and given_before(worker, request, ttl)
  if answer then
    return answer
  end
  read_shares(ARGV[place + 6])
  local turn = turn_of(line_of(ARGV[place + 3], ARGV[place + 4]))
  if not turn then
    return {}
  end
  local window, where, member
  -- Somebody waits for an answer: nothing goes before it.
  if ARGV[place + 5] ~= '' and turn.window.kind ~= 'a' then
    window, where, member = at_hand(turn, ARGV[place + 5])
  end
  if not member then
    window, where, member = turn.window, turn.window.first, turn.member
  end
  taken[member] = true
  leave_later(window.queue, member)
  if where then
    window.page[where] = false
  end
  local uid, n, kind = parse(member)
  local expires = t + ttl
  picks[#picks + 1] = {
    answer = #answers + 1, uid = uid, n = n, kind = kind, tenant = turn.tenant, worker = worker, request = request,
    expires = expires,
  }
  enter_later('l:' .. kind .. ':' .. turn.tenant, expires, member)
  if is_read(kind) then
    running[turn.tenant] = running[turn.tenant] and running[turn.tenant] + 1
  end
  return {}
end

for place = FIRST, #ARGV, EACH do
  answers[#answers + 1] = lease(place)
end
give_picked()
return answers
