package faultserver

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

var quiet = log.New(io.Discard, "", 0)

// Answer is what the server is about to send.
type Answer struct {
	Request *http.Request
	File    []byte // the whole file
	Status  int
	Header  http.Header
	Body    []byte

	Framing Framing
	Cut     int64 // bytes of Body after which End comes; -1 for all
	End     End
	Hang    Hang
	Drip    time.Duration // pause after every DripBytes bytes
	Bytes   int           // how many bytes a drip has; 0 means 1
}

// Framing is how the end of the body is marked.
type Framing int

// The framings.
const (
	WithLength Framing = iota // Content-Length, of all of Body
	Chunked
	HTTP10 // an answer of HTTP/1.0 without a length: the connection's end
)

// End is what happens when Cut bytes of the body are sent.
type End int

// The ends.
const (
	Finish  End = iota // as the framing demands: a cut body is shorter, and well-formed if chunked
	Close              // the connection is closed
	Reset              // the connection is reset
	Stall              // nothing more comes
	Endless            // the body starts again, for ever
)

// Hang is where the headers stall.
type Hang int

// The places.
const (
	Nowhere Hang = iota
	BeforeHeaders
	InHeaders
)

// plain reports whether net/http can send the answer.
func (a *Answer) plain() bool {
	return a.Framing == WithLength && a.End == Finish && a.Cut < 0 && a.Hang == Nowhere && a.Drip == 0
}

// send sends the answer and returns how many bytes of body went out.
func (s *Server) send(w http.ResponseWriter, r *http.Request, a *Answer) int64 {
	if a.plain() {
		for k, v := range a.Header {
			w.Header()[k] = v
		}
		if a.Header.Get("Content-Length") == "" {
			w.Header().Set("Content-Length", fmt.Sprint(len(a.Body)))
		}
		w.WriteHeader(a.Status)
		n, _ := w.Write(a.Body)
		return int64(n)
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic("this fault needs HTTP/1: " + err.Error())
	}
	defer conn.Close()
	return s.sendRaw(conn, a)
}

// sendRaw writes the answer by hand.
func (s *Server) sendRaw(conn net.Conn, a *Answer) (sent int64) {
	if a.Hang == BeforeHeaders {
		s.stall(conn)
		return 0
	}
	proto := "HTTP/1.1"
	switch a.Framing {
	case HTTP10:
		proto = "HTTP/1.0"
	case Chunked:
		a.Header.Set("Transfer-Encoding", "chunked")
	case WithLength:
		if a.Header.Get("Content-Length") == "" {
			a.Header.Set("Content-Length", fmt.Sprint(len(a.Body)))
		}
	}
	a.Header.Set("Connection", "close")
	fmt.Fprintf(conn, "%s %d %s\r\n", proto, a.Status, http.StatusText(a.Status))
	if a.Hang == InHeaders {
		fmt.Fprint(conn, "Content-Ty")
		s.stall(conn)
		return 0
	}
	a.Header.Write(conn)
	fmt.Fprint(conn, "\r\n")

	body := a.Body
	if a.Cut >= 0 && a.Cut < int64(len(body)) {
		body = body[:a.Cut]
	}
	for {
		n, err := s.sendBody(conn, a, body)
		sent += n
		if err != nil || a.End != Endless || len(body) == 0 {
			break
		}
	}
	switch a.End {
	case Finish:
		if a.Framing == Chunked {
			fmt.Fprint(conn, "0\r\n\r\n")
		}
	case Reset:
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
	case Stall:
		s.stall(conn)
	}
	return sent
}

func (s *Server) sendBody(conn net.Conn, a *Answer, body []byte) (sent int64, err error) {
	step := 64 << 10
	if a.Drip > 0 {
		step = max(a.Bytes, 1)
	}
	for len(body) > 0 {
		part := body[:min(step, len(body))]
		body = body[len(part):]
		if a.Framing == Chunked {
			fmt.Fprintf(conn, "%x\r\n", len(part))
		}
		n, err := conn.Write(part)
		sent += int64(n)
		if a.Framing == Chunked {
			fmt.Fprint(conn, "\r\n")
		}
		if err != nil {
			return sent, err
		}
		s.wait(a.Request, a.Drip)
		select {
		case <-s.done:
			return sent, net.ErrClosed
		default:
		}
	}
	return sent, nil
}

// stall waits until the client hangs up or the server goes down.
func (s *Server) stall(conn net.Conn) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		var b [1]byte
		conn.Read(b[:])
	}()
	select {
	case <-gone:
	case <-s.done:
		conn.Close()
		<-gone
	}
}
