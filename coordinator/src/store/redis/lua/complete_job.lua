-- Stores the outcomes of read jobs. ARGV: time, then, for each, study, number, token, outcome and the figures of its cost,
-- packed. Answers a word for each; 'broken' where a job's record cannot be read.
local EACH = 5
local wall, t = clocks()

-- By study, how many of its jobs are done now, and what they cost together.
local done, costs_of = {}, {}

-- What is known of jobs that were looked at, and outcomes by study.
local jobs, outcomes = {}, {}

local function complete(place)
  local uid, n, token = ARGV[place], ARGV[place + 1], tonumber(ARGV[place + 2])
  local name = uid .. ' ' .. n
  local job = jobs[name] or get_job(uid, n)
  if settled(job, token) == 'C' then
    return 'before'
  end
  local refused = refusal(job, token)
  if refused then
    return refused
  end
  if job[KIND] == 'm' then
    return 'misfit'
  end
  local cost, before = cmsgpack.unpack(ARGV[place + 4]), costs_of[uid]
  local queue = place_of(job)
  leave_later(queue, member_of(uid, n, job[KIND]))
  job[STATE], job[EXPIRES], job[SETTLED], job[SETTLED_HOW], job[UPDATED] = 'd', 0, token, 'C', t
  put_later(uid, n, job)
  jobs[name] = job
  local fields = list_of(outcomes, uid)
  fields[#fields + 1], fields[#fields + 2] = n, ARGV[place + 3]
  cost[#cost + 1] = job[WAITED]
  for figure = 1, before and #cost or 0 do
    cost[figure] = cost[figure] + before[figure]
  end
  done[uid], costs_of[uid] = (done[uid] or 0) + 1, cost
  return 'now'
end

local answers = {}
for place = 2, #ARGV, EACH do
  -- One that cannot be read must not keep the others from being counted.
  local is_read, word = pcall(complete, place)
  answers[#answers + 1] = is_read and word or 'broken'
end
write_changes()
for uid, fields in pairs(outcomes) do
  call('HSET', P .. 'o:' .. uid, unpack(fields))
end
for uid, finished in pairs(done) do
  count_finished(uid, finished, wall, t, costs_of[uid])
end
return answers
