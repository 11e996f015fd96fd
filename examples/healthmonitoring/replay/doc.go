// Package replay reads recorded input, metrics and syslog, row by row, as if it came in live.
//
// # Words
//
//   - Row: what one line of a recording holds: a value, or the reason why there is none. Blank lines and CSV headers are
//     no rows.
//   - Recording: a text file with one record per line, plain or compressed with gzip; Open tells which by its first bytes.
//
// Metrics come as NDJSON or as CSV; each line tells by itself which it is:
//
//	{"host":"web1","name":"cpu_percent","value":93.5,"unit":"%","time":"2026-11-23T05:00:00Z"}
//
//	time,host,name,value
//	2026-11-23T05:00:00Z,web1,cpu_percent,93.5
//
// Syslog comes as raw lines in all the forms that package syslogd reads.
//
// # Guarantees
//
//   - Every line that is not blank is one row, in the order of the file, with its number and its bytes. A line that cannot
//     be decoded, a value that is not finite or a line beyond 1 MiB is a row with Err and never ends the replay.
//   - Only the recording itself can end it early: when reading fails, as in a damaged gzip file, the last row has an error
//     with ErrUnreadable that says at which line.
//   - The same recording and options give the same rows on every run, on every machine that has the same time zone.
//
// # Caveats
//
//   - CSV is read line by line: a quoted field may hold commas and quotes but no newline.
//   - RFC 3164 has no year and a recording has no "now": without Options.Year such lines are rows with an error.
package replay
