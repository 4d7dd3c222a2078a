-- Notes a subscription to the worklist. ARGV: time, tenant, title, subscription, how many the tenant may have.
local key = P .. 'wsub:' .. ARGV[2]
local held = call('HGET', key, ARGV[3])
if held == ARGV[4] then
  return { 'before' }
end
if not held and call('HLEN', key) >= tonumber(ARGV[5]) then
  return { 'many' }
end
call('HSET', key, ARGV[3], ARGV[4])
return { 'now' }
