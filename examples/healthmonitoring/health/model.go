package health

import "time"

// Metric is one measured value.
type Metric struct {
	// Host names the machine that was measured, as its source spells it; see HostKey.
	Host string `json:"host"`
	// Name says what was measured, for example "cpu_percent".
	Name string `json:"name"`
	// Value is the measured value in Unit. It is finite.
	Value float64 `json:"value"`
	// Unit is the unit of Value, for example "%" or "By/s"; empty when it has none or the source does not tell.
	Unit string `json:"unit,omitempty"`
	// Time is when it was measured: the event time of the record.
	Time time.Time `json:"time"`
}

// Syslog is one log line.
type Syslog struct {
	// Host names the machine that wrote the line, as the line spells it; see HostKey.
	Host string `json:"host"`
	// Time is when the line was written: the event time of the record.
	Time time.Time `json:"time"`
	// Severity is one of emerg, alert, crit, err, warning, notice, info and debug.
	Severity string `json:"severity"`
	// Facility is the syslog facility, for example "daemon"; empty when unknown.
	Facility string `json:"facility,omitempty"`
	// App is the program that wrote the line; empty when the line does not tell.
	App string `json:"app,omitempty"`
	// ProcID is the process id, or whatever the program sent in its place; empty when the line does not tell.
	ProcID string `json:"procid,omitempty"`
	// MsgID is the RFC 5424 message type; empty when the line does not tell.
	MsgID string `json:"msgid,omitempty"`
	// Message is the text, valid UTF-8, without the header.
	Message string `json:"message"`
}
