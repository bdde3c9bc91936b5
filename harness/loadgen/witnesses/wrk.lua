-- Prints what wrk has counted as one line of JSON; times are in microseconds.

local QUANTILES = 1000

function done(summary, latency)
  local errors, quantiles = summary.errors, {}
  if summary.requests > 0 then
    for i = 1, QUANTILES do
      quantiles[i] = string.format("%.0f", latency:percentile((i - 0.5) * 100 / QUANTILES))
    end
  end
  local line = '{"requests": %.0f, "duration_us": %.0f, "bytes": %.0f, ' ..
    '"connect": %.0f, "read": %.0f, "write": %.0f, "status": %.0f, "timeout": %.0f, "quantiles_us": [%s]}\n'
  io.write(line:format(
    summary.requests, summary.duration, summary.bytes,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout, table.concat(quantiles, ", ")))
end
