-- Goes before every script: numbers the threads from 0 as `number`, and reports what was seen as one line of JSON.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    'SEEN {"requests": %d, "microseconds": %d, "median_us": %d, "p99_us": %d, "failed": %d, "broken": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
