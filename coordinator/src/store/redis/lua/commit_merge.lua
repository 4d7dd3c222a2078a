-- Ends a merge job. ARGV: time, study, number, token, what ('draft' or 'nothing'), all that was not read, then version,
-- digest, size, objects and summary of the draft, then destination and object of each of its deliveries; or the reason why there
-- is no draft.
local uid, n, token, what = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local job = get_job(uid, n)
if settled(job, token) == 'C' then
  return { 'before' }
end
local refused = refusal(job, token)
if refused then
  return { refused }
end
if job[KIND] ~= 'm' then
  return { 'misfit' }
end
local study = P .. 's:' .. uid
local held = call('HMGET', study, 'state', 'draft', 'received', 'tenant', 'cost', 'reason')
if not held[1] then
  return { 'study' }
end
if what == 'draft' and tonumber(ARGV[7]) ~= held[2] + 1 then
  return { 'outdated' }
end
local wall, t = clocks()
local cost = costs(held[5])
cost[11] = cost[11] + t - job[UPDATED]
cost = cmsgpack.pack(cost)
if what == 'draft' then
  local draft = string.format(
    '{"version":%s,"digest":"%s","size_bytes":%s,"drafted_at_ms":%.0f}', ARGV[7], ARGV[8], ARGV[9], wall)
  call('HSET', P .. 'd:' .. uid, ARGV[7], draft)
  if held[6] then
    call('HDEL', study, 'reason')
  end
  note_wishes(uid, ARGV[7], 12, false, wall, t)
  set_state(uid, held[1], 'drafted', held[3], held[4], 'draft', ARGV[7], 'objects', ARGV[10], 'summary', ARGV[11], 'unread', ARGV[6], 'cost', cost,
    'updated', wall)
else
  set_state(uid, held[1], 'failed', held[3], held[4], 'reason', ARGV[7], 'unread', ARGV[6], 'cost', cost, 'updated', wall)
end
leave(uid, n, job)
job[STATE], job[EXPIRES], job[SETTLED], job[SETTLED_HOW], job[UPDATED] = 'd', 0, token, 'C', t
put_job(uid, n, job)
return { 'now' }
