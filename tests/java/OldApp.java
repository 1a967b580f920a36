import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import java.io.File;
import java.io.IOException;
import java.net.URLEncoder;
import java.nio.charset.Charset;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.apache.catalina.Context;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;

/**
 * A Java app as municipalities run them since 2009, on a real Tomcat: addresses carry the session, pages and paths are
 * Shift_JIS, redirects are absolute.
 *
 * <p>{@code java -cp JARS OldApp.java FOLDER}: prints its port; FOLDER/seen has one line a request: the address as it
 * came, a tab, the path as the app decoded it, a tab, whether the session came in the address.
 */
public class OldApp {
  static final Charset CODE_PAGE = Charset.forName("windows-31j");

  static class Pages extends HttpServlet {
    private final transient Path seen;

    Pages(Path seen) {
      this.seen = seen;
    }

    @Override
    protected synchronized void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
      HttpSession session = request.getSession();
      String path = request.getServletPath();
      String line =
          request.getRequestURI() + "\t" + path + "\t" + request.isRequestedSessionIdFromURL() + "\n";
      Files.writeString(seen, line, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
      Integer before = (Integer) session.getAttribute("count");
      int count = before == null ? 1 : before + 1;
      session.setAttribute("count", count);
      if (path.equals("/move.do")) {
        response.sendRedirect(response.encodeRedirectURL(request.getContextPath() + "/list.do"));
        return;
      }
      response.setContentType("text/html; charset=Windows-31J");
      String office = "/" + URLEncoder.encode("税務課", CODE_PAGE) + "/" + URLEncoder.encode("一覧", CODE_PAGE) + ".do";
      response.getWriter().println(
          "<html><head><title>文書</title></head><body>" + path + " は " + count + " 回目"
              + "<a href=\"" + response.encodeURL("/list.do") + "\">一覧</a>"
              + "<a href=\"" + response.encodeURL("/move.do") + "\">移動</a>"
              + "<a href=\"" + response.encodeURL(office) + "\">税務課</a></body></html>");
    }
  }

  public static void main(String[] arguments) throws Exception {
    Path folder = Path.of(arguments[0]);
    Tomcat tomcat = new Tomcat();
    tomcat.setBaseDir(folder.resolve("base").toString());
    Connector connector = new Connector("HTTP/1.1");
    connector.setPort(0);
    connector.setProperty("address", "127.0.0.1");
    connector.setURIEncoding("Windows-31J");
    tomcat.setConnector(connector);
    Context context = tomcat.addContext("", new File(folder.toString()).getAbsolutePath());
    context.setUseRelativeRedirects(false);
    Tomcat.addServlet(context, "pages", new Pages(folder.resolve("seen")));
    context.addServletMappingDecoded("/", "pages");
    tomcat.start();
    System.out.println(connector.getLocalPort());
    System.out.flush();
    tomcat.getServer().await();
  }
}
