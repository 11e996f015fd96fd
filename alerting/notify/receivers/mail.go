package receivers

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/processor"
)

// Mail sends e-mail through an SMTP server, over STARTTLS and not without it. A notification that comes again has the same Message-ID.
type Mail struct {
	// Host is the server; Port 0 is 587. Host is required.
	Host string
	Port int
	// From and To are addresses. Both are required.
	From string
	To   []string
	// Username and Password, if set, are who we are.
	Username string
	Password Secret
	// TLS, if set, is used in place of the system's, with Host as the name of the server.
	TLS *tls.Config
	// Timeout bounds each step of the conversation. Zero: 10 s.
	Timeout time.Duration
	// Subject and Text, if set, make those of the mail.
	Subject, Text *Template
}

const (
	submissionPort = 587
	maxMailBody    = 200_000 // bytes
	maxMailSubject = 200
)

// Send implements notify.Target.Send.
func (m *Mail) Send(ctx context.Context, d processor.Delivery[notify.Notification]) error {
	message, err := m.message(&d)
	if err != nil {
		return err
	}
	var conn net.Conn
	client, err := m.client(func(ctx context.Context, network, address string) (_ net.Conn, err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return conn, err
	})
	if err != nil {
		return fmt.Errorf("mail through %s: %w", m.Host, err)
	}
	defer func() {
		if conn != nil {
			_ = conn.Close() // the library leaves it open when the conversation fails
		}
	}()
	err = client.DialAndSendWithContext(ctx, message)
	var answer *mail.SendError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer) && !answer.IsTemp() && answer.ErrorCode() >= 500:
		return fmt.Errorf("%w: mail through %s: %w", notify.ErrRefused, m.Host, err)
	}
	return fmt.Errorf("mail through %s: %w", m.Host, err)
}

func (m *Mail) client(dial mail.DialContextFunc) (*mail.Client, error) {
	port := m.Port
	if port == 0 {
		port = submissionPort
	}
	options := []mail.Option{
		mail.WithPort(port), mail.WithTLSPolicy(mail.TLSMandatory), mail.WithTimeout(orDefault(m.Timeout, defaultTimeout)), mail.WithDialContextFunc(dial),
	}
	if m.TLS != nil {
		options = append(options, mail.WithTLSConfig(m.TLS))
	}
	if m.Username != "" {
		password, err := m.Password.reveal()
		if err != nil {
			return nil, fmt.Errorf("the password: %w", err)
		}
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.Username), mail.WithPassword(password))
	}
	return mail.NewClient(m.Host, options...)
}

func (m *Mail) message(d *processor.Delivery[notify.Notification]) (*mail.Msg, error) {
	message := mail.NewMsg()
	if err := errors.Join(message.From(m.From), message.To(m.To...)); err != nil {
		return nil, fmt.Errorf("the addresses of a mail: %w", err)
	}
	n := &d.Value
	subject := strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, m.Subject.words(n, maxMailSubject, unescaped, cut(title(n), maxMailSubject)))
	message.Subject(cut(subject, maxMailSubject))
	message.SetDateWithValue(n.At)
	_, domain, _ := strings.Cut(m.From, "@")
	id := sha256.Sum256([]byte(d.Token))
	message.SetMessageIDWithValue(hex.EncodeToString(id[:16]) + "@" + strings.Trim(domain, "> "))
	body := m.Text.words(n, maxMailBody, unescaped, lines(n.Alerts, maxMailBody, unescaped))
	message.SetBodyString(mail.TypeTextPlain, body+"\n\n"+string(n.Reason)+", "+n.GroupKey+"\n")
	return message, nil
}
