-- Removes entries of one queue that no job accounts for; how many. ARGV: time, the queue's name, members.
local name = ARGV[2]
local key = P .. name
local stray = 0
for place = 3, #ARGV do
  local member = ARGV[place]
  local uid, n, kind = parse(member)
  local job = uid and get_job(uid, n)
  local wanted, score
  if job and job[KIND] == kind then
    wanted, score = place_of(job)
  end
  local held = call('ZSCORE', key, member)
  if held and (wanted ~= name or tonumber(held) ~= score) then
    call('ZREM', key, member)
    stray = stray + 1
  end
end
return stray
