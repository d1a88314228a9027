import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.HexFormat;
import org.apache.kafka.common.utils.Utils;

/** Keys in hex, one a line, to what Kafka's own class makes of them. */
public class Murmur2 {
    public static void main(String[] arguments) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in));
        var out = new StringBuilder();
        for (String line; (line = in.readLine()) != null; ) {
            out.append(Utils.murmur2(HexFormat.of().parseHex(line))).append('\n');
        }
        new PrintStream(System.out, true).print(out);
    }
}
