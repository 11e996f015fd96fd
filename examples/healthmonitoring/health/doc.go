// Package health is the vocabulary of the health monitoring example: what is measured, what is logged, which rules watch
// it, and what an alarm tells about the log lines around a breach. It knows nothing of servers, files or sockets.
//
// # Words
//
//   - Metric: one measured value of one host at one time, for example cpu_percent 93.5.
//   - Syslog: one log line of one host, as it left that host.
//   - Incident: a metric with the log lines of its host around it. Rule: what is alarming of incidents; see package rulesfile.
//   - Log context: the summary of the log lines of a host around its breach, which travels inside the alarm.
//   - Host key: the form of a host name under which metrics and logs of one machine meet (HostKey).
//
// # Guarantees
//
//   - ParseRules accepts a rules file completely or not at all. Its error is one line that says where and what to do.
//   - Summarise counts every line of the window, keeps the most telling ones, and its result is bounded: in the number of
//     lines, in the bytes of each and in the names counted. An alarm always fits into one message.
//   - Everything here is a pure function of its arguments: the same input gives the same result on every run.
//
// # Caveats
//
//   - HostKey takes the first DNS label for the machine. Two machines db.east.example and db.west.example become one key.
//   - Summarise expects its lines in time order and does not sort them.
package health
