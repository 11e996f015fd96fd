package embedded

import (
	"fmt"
	"sync"

	"go.uber.org/zap"
)

// serverLog hands the server's log to zap, and keeps what the server calls
// fatal: the server would end the process there, which is not ours to do.
type serverLog struct {
	to *zap.SugaredLogger

	mu    sync.Mutex
	fatal string
	died  chan struct{} // closed at the first fatal message
}

func newServerLog(l *zap.Logger) *serverLog {
	if l == nil {
		l = zap.NewNop()
	}
	return &serverLog{to: l.Sugar(), died: make(chan struct{})}
}

func (l *serverLog) Noticef(format string, v ...any) { l.to.Infof(format, v...) }
func (l *serverLog) Warnf(format string, v ...any)   { l.to.Warnf(format, v...) }
func (l *serverLog) Errorf(format string, v ...any)  { l.to.Errorf(format, v...) }
func (l *serverLog) Debugf(format string, v ...any)  { l.to.Debugf(format, v...) }
func (l *serverLog) Tracef(format string, v ...any)  { l.to.Debugf(format, v...) }

func (l *serverLog) Fatalf(format string, v ...any) {
	l.to.Errorf(format, v...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == "" {
		l.fatal = fmt.Sprintf(format, v...)
		close(l.died)
	}
}

func (l *serverLog) reason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}
