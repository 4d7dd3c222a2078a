-- Forgets request ids. ARGV: time, age in ms.
local _, t = clocks()
local old = call('ZRANGEBYSCORE', P .. 'requests:at', '-inf', '(' .. string.format('%.0f', t - ARGV[2]))
for _, id in ipairs(old) do
  call('HDEL', P .. 'requests', id)
  call('ZREM', P .. 'requests:at', id)
end
return #old
