package health

// UnknownSeverity stands in LogContext.BySeverity for all lines whose severity is none of the eight of syslog.
const UnknownSeverity = "unknown"

// Ranks of the severities: smaller is more severe, as in the syslog protocol. Unknown ones come last.
const (
	rankUnknown = 8
	rankCount   = rankUnknown + 1
)

// SeverityName returns the name of the syslog severity code, 0 (emerg) to 7 (debug), and UnknownSeverity for any other.
func SeverityName(code int) string {
	switch code {
	case 0:
		return "emerg"
	case 1:
		return "alert"
	case 2:
		return "crit"
	case 3:
		return "err"
	case 4:
		return "warning"
	case 5:
		return "notice"
	case 6:
		return "info"
	case 7:
		return "debug"
	}
	return UnknownSeverity
}

// severityRank is the inverse of SeverityName.
func severityRank(name string) int {
	switch name {
	case "emerg":
		return 0
	case "alert":
		return 1
	case "crit":
		return 2
	case "err":
		return 3
	case "warning":
		return 4
	case "notice":
		return 5
	case "info":
		return 6
	case "debug":
		return 7
	}
	return rankUnknown
}
