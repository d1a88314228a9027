// Writes an order and its event in one transaction; then both once more, and rolls that back.
//
//     java -cp 'drivers/*' OutboxExample.java jdbc:mysql://127.0.0.1:3306/shop root ''

import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Statement;

public class OutboxExample {
    private static final String ORDER = "INSERT INTO orders (customer, total) VALUES (?, ?)";
    private static final String EVENT =
            "INSERT INTO outbox (event_name, topic, event_key, payload, headers) VALUES (?, ?, ?, ?, ?)";

    static void place(Connection connection, String customer, int total) throws SQLException {
        try (PreparedStatement order = connection.prepareStatement(ORDER);
                PreparedStatement event = connection.prepareStatement(EVENT)) {
            order.setString(1, customer);
            order.setInt(2, total);
            order.executeUpdate();
            event.setString(1, "order.created");
            event.setString(2, "orders");
            event.setBytes(3, customer.getBytes(StandardCharsets.UTF_8));
            event.setBytes(4, ("{\"total\":" + total + "}").getBytes(StandardCharsets.UTF_8));
            event.setString(5, "{\"source\":\"java\"}");
            event.executeUpdate();
        }
    }

    public static void main(String[] arguments) throws SQLException {
        try (Connection connection = DriverManager.getConnection(arguments[0], arguments[1], arguments[2])) {
            connection.setAutoCommit(false);
            place(connection, "k\u00fcnde-\u2713", 7);
            connection.commit();
            place(connection, "nobody", 8);
            connection.rollback();
        }
    }
}
